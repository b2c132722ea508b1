// Starts the browser's half of the page. The server names each component by a kind; here is who draws it.
import { forgetRamps } from '../lib/canvas.js';
import { define, mount, view } from '../lib/components.js';
import { DailyUse } from '../lib/daily-use.js';
import { ExpertChip } from '../lib/expert-chip.js';
import { followTheme } from '../lib/theme.js';
import { WeightBars } from '../lib/weight-bars.js';
import { OtherRun } from '../run/other-run.js';
import { RunView } from '../run/run-view.js';
import { BlindSide } from './blind-side.js';
import { ignoreDoublePresses } from './double-press.js';
import { Header } from './header.js';
import { HelpDialog } from './help-dialog.js';
import { KeptWork } from './kept-work.js';
import { LabelsTable } from './labels-table.js';
import { LearningCurve } from './learning-curve.js';
import { LikenessPanel } from './likeness-panel.js';
import { OverridePanel } from './override-panel.js';
import { PairKeeper } from './pair-keeper.js';
import { followSteps, showResult } from './phone-steps.js';
import { PoolPicker } from './pool-picker.js';
import { PressableList } from './pressable-list.js';
import { countPromptLetters } from './prompt-count.js';
import { RouterMenu } from './router-menu.js';
import { Shortcuts } from './shortcuts.js';
import { VoteOutbox } from './vote-outbox.js';

followTheme();
forgetRamps();
customElements.define('expert-chip', ExpertChip);
customElements.define('weight-bars', WeightBars);
customElements.define('daily-use', DailyUse);

const help = new HelpDialog();
define('header', (parts) => new Header(parts, help));
define('routers', (parts) => new RouterMenu(parts));
define('list', (parts) => new PressableList(parts));
define('pool', (parts) => new PoolPicker(parts));
define('override', (parts) => new OverridePanel(parts));
define('run', (parts) => new RunView(parts));
define('other', (parts) => new OtherRun(parts));
define('side-a', (parts) => new BlindSide(parts));
define('side-b', (parts) => new BlindSide(parts));
define('pair-kept', (parts) => new PairKeeper(parts));
define('pair-outbox', (parts) => new VoteOutbox(parts, () => view('pair-kept')?.text, showResult));
define('labels', (parts) => new LabelsTable(parts));
define('curve', (parts) => new LearningCurve(parts));
define('likeness', (parts) => new LikenessPanel(parts));

new Shortcuts(help, () => view('run')).listen();
countPromptLetters();
followSteps();
ignoreDoublePresses(['pair-run', 'vote-next']);
new KeptWork().listen();

// components that were ready before this module wait in a list, see playground/ui/assets.py
const { waiting } = window.Playground;
window.Playground = { mount, view };
for (const parts of waiting) mount(...parts);
