import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';

/**
 * The shell program that outlives this process for a moment. It reads `+<pid> <signal>` and `-<pid>`
 * from a pipe whose other end only we hold; the end of file means that we are gone, by whatever way, and
 * then it ends every process (and its group) that is still in the list. A shell, because it starts in a
 * millisecond and costs one page of memory; Node would cost 40 MB.
 */
const PROGRAM = `
trap '' INT TERM HUP
list=' '
while read -r word signal; do
  pid=\${word#?}
  case $word in
    +*) list="$list$pid:$signal " ;;
    -*)
      kept=' '
      for entry in $list; do
        [ "\${entry%%:*}" = "$pid" ] || kept="$kept$entry "
      done
      list=$kept ;;
  esac
done
[ "$list" = ' ' ] && exit 0
for entry in $list; do
  pid=\${entry%%:*} signal=\${entry##*:}
  kill -s "$signal" -- "-$pid" 2>/dev/null || kill -s "$signal" "$pid" 2>/dev/null
done
sleep 2
for entry in $list; do
  pid=\${entry%%:*}
  kill -s KILL -- "-$pid" 2>/dev/null || kill -s KILL "$pid" 2>/dev/null
done
exit 0
`;

let reaper: ChildProcess | undefined;

/**
 * See to it that a child dies when this process dies, even by SIGKILL. Call `forget` when it has exited
 * by itself, so that its pid cannot be mistaken for another process later.
 *
 * @param signal sent first to the child's group; SIGKILL follows two seconds later
 */
export function endWithThisProcess(pid: number, signal: 'KILL' | 'QUIT' | 'TERM'): { forget: () => void } {
  const { stdin } = (reaper ??= startReaper());
  stdin?.write(`+${pid} ${signal}\n`);
  return { forget: () => void stdin?.write(`-${pid}\n`) };
}

function startReaper(): ChildProcess {
  // detached: a Ctrl-C in the terminal reaches the whole foreground group and must not end the reaper.
  const child = spawn('/bin/sh', ['-c', PROGRAM], { stdio: ['pipe', 'ignore', 'ignore'], detached: true, cwd: '/' });
  // A reaper that was killed must not take us along by an unhandled EPIPE; the pid files remain.
  child.stdin.on('error', () => {});
  child.on('error', () => {});
  child.unref();
  // Neither the reaper nor the pipe to it may keep a finished program running. Node's pipes to children are sockets.
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child;
}
