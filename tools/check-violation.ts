/** One thing that a check found, and how to mend it. */
export interface Violation {
  /** Relative to the repository's root. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly rule: string;
  readonly problem: string;
  readonly mend: string;
}

/** Prints the violations, one a line, as `file:line  rule  problem: mend`, and sets the exit code. */
export function report(violations: readonly Violation[]): void {
  for (const { file, line, rule, problem, mend } of violations) console.log(`${file}:${line}  ${rule}  ${problem}: ${mend}`);
  if (violations.length > 0) process.exitCode = 1;
}
