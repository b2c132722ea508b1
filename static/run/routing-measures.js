// Says how even and how agreed a gate's routing is, in numbers and in words.
import { mean } from '../lib/format.js';

const isMixable = (look) => look.kind === 'base' || look.kind === 'lora';
const share = (value) => value.toFixed(2);

/** Return entropy in nats as a share of the largest there can be over the experts that may be mixed. */
export function evenness(nats, pool) {
  const top = Math.log(pool.filter(isMixable).length);
  return top > 0 ? Math.min(1, nats / top) : 0;
}

/** Return `0.42 (0.58 nats)`. */
export const entropyWords = (nats, pool) => `${share(evenness(nats, pool))} (${share(nats)} nats)`;

/** Return how often another expert takes the lead. */
export const switchesOf = (tokens) =>
  tokens.filter((token, i) => i > 0 && token.weights && token.leader !== tokens[i - 1].leader).length;

/** Return the three measures of a token in words. */
export function measureWords([nats, overlap, consent], pool) {
  const led = `the token's expert leads in ${Math.round(consent * 100)}% of them`;
  return `entropy of the weights ${entropyWords(nats, pool)} · layers agree ${share(overlap)} · ${led}`;
}

/** Return what the measures say of the whole answer. */
export function answerWords(state) {
  if (!state.started) return '';
  const weighed = state.tokens.filter((token) => token.measures);
  if (!weighed.length) {
    const single = 'There is one decision for the whole answer. Nothing switches, and all layers agree.';
    return state.tokens.length ? single : '';
  }
  const means = [0, 1, 2].map((j) => mean(weighed.map((token) => token.measures[j])));
  const turns = switchesOf(state.tokens);
  const own = state.ownTokens;
  const before = own[0]?.weights ? ` and ${switchesOf(own)} in the prompt` : '';
  const times = turns === 1 ? 'time' : 'times';
  return `The leading expert changes ${turns} ${times} in the answer${before} · ${measureWords(means, state.pool)}`;
}
