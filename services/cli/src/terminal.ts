/** Where a command writes. */
export interface Streams {
  readonly out: { write(text: string): unknown };
  readonly err: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number };
}

/** How a command answers: one JSON document on standard output, or text for people. */
export interface Terminal {
  readonly json: boolean;
  /** The answer, once. */
  answer(document: unknown, text: () => string): void;
  /** How it goes, on standard error. On a terminal the next call takes the line's place. */
  progress(line: string): void;
  /** Ends the line that `progress` keeps. */
  progressEnd(): void;
}

/** Makes the terminal of one run. */
export function createTerminal(streams: Streams, json: boolean): Terminal {
  let open = false;
  return {
    json,
    answer(document, text) {
      streams.out.write(json ? `${JSON.stringify(document, null, 2)}\n` : `${text().trimEnd()}\n`);
    },
    progress(line) {
      if (streams.err.isTTY !== true) {
        streams.err.write(`${line}\n`);
        return;
      }
      streams.err.write(`\r\u001B[2K${line.slice(0, (streams.err.columns ?? 80) - 1)}`);
      open = true;
    },
    progressEnd() {
      if (open) streams.err.write('\n');
      open = false;
    },
  };
}

/** A table with aligned columns; numbers to the right. An empty one is its head and `(none)`. */
export function table(head: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const cells = rows.map((row) => row.map((cell) => (cell === null ? '–' : printable(String(cell)))));
  const widths = head.map((name, column) => Math.max(name.length, ...cells.map((row) => row[column]?.length ?? 0)));
  const right = head.map((_name, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number' || row[column] === null));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (right[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), ...(cells.length === 0 ? ['(none)'] : cells.map(line))].join('\n');
}

/** Message ids, keys and errors come from outside: what they hold must not move the cursor or clear the screen. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F]/g, '\uFFFD');
}

/** `850 ms`, `12.3 s`, `5 min`, `3 h`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}
