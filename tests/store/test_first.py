from playground.core.preferences import Verdict
from playground.store.database import Database
from playground.store.labels import create_comparison, current_labels, export_csv, labelled_pairs, shown, undo, vote
from playground.store.people import labeller
from playground.store.runs import load_events, recent_runs


def test_loop(database: Database, save) -> None:
    a, b = save(), save(expert="base", text="Five.")
    with database.write() as s:
        me = labeller(s, "cookie")
        c = create_comparison(s, a, b, selection="uniform", pair_propensity=0.1, left_run=b)
        label = vote(s, c, Verdict.A, labeller_id=me, client_token="t1")
    with database.read() as s:
        rows = current_labels(s)
        assert rows[0].shown_verdict is Verdict.A
        assert rows[0].winner == "base"
        assert len(recent_runs(s)) == 2
        print(export_csv(rows), labelled_pairs(s), shown(s, c))
        assert len(load_events(s, a)) == 6
    with database.write() as s:
        undo(s, label, labeller_id=me, client_token="t2")
    with database.read() as s:
        assert not current_labels(s)
    assert all(check.ok for check in database.check()), database.check()
