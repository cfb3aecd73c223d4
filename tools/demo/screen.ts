import { type Followed, stateOf } from './follow.ts';

/** Shows how far the events are. */
export interface Screen {
  update(): void;
}

/** On a terminal one line per event, kept up to date; elsewhere a line per change, so that a log can be read. */
export function createScreen(followed: readonly Followed[], out: NodeJS.WriteStream): Screen {
  const width = Math.max(...followed.map(({ event }) => event.routingKey.length));
  const line = (each: Followed) => {
    const seconds = (((each.endedAt ?? Date.now()) - each.publishedAt) / 1_000).toFixed(1);
    return `  ${each.event.routingKey.padEnd(width)}  ${stateOf(each).padEnd(13)} ${seconds.padStart(5)} s  ${each.event.subject}`;
  };
  let drawn = 0;
  const shown = new Map<Followed, string>();
  return {
    update() {
      if (out.isTTY) {
        const columns = out.columns || 80;
        // A line that wraps would count twice, and the next update would begin too low.
        const lines = followed.map((each) => `\u001B[2K${line(each).slice(0, columns - 1)}\n`);
        out.write(`${drawn > 0 ? `\u001B[${drawn}A` : ''}${lines.join('')}`);
        drawn = lines.length;
        return;
      }
      for (const each of followed) {
        // Percentages would be a line each.
        const state = stateOf(each).split(' ')[0] ?? '';
        if (shown.get(each) === state) continue;
        shown.set(each, state);
        out.write(`${line(each)}\n`);
      }
    },
  };
}
