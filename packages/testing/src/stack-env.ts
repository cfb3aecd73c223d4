/**
 * Write variables as a file that a POSIX shell can source and that Node's --env-file reads as well.
 * Values are single-quoted, line ends become `\n` (as FIREBASE_PRIVATE_KEY may have them).
 */
export function shellEnvFile(env: Record<string, string>): string {
  const lines = Object.entries(env).map(([name, value]) => {
    const oneLine = value.replaceAll('\r', '').replaceAll('\n', '\\n');
    return `${name}='${oneLine.replaceAll("'", `'\\''`)}'`;
  });
  return lines.join('\n') + '\n';
}
