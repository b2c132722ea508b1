const isNarrow = () => matchMedia('(max-width: 720px)').matches;
const show = (id) => isNarrow() && document.getElementById(id)?.scrollIntoView({ block: 'start' });

/** On a phone the result of a vote is below the answers: bring it into view, with undo and next above it. */
export const showResult = () => show('verdicts-apart');

/** On a phone, bring the answers into view when the next comparison is asked for. */
export function followSteps() {
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('#vote-next, #pair-run')) show('pair-state');
  });
}
