import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Finding, ok, problem } from './finding.ts';

const run = promisify(execFile);

/** What the media jobs encode with. */
const ENCODERS = ['libx264', 'libmp3lame', 'aac'];
const INSTALL = 'install ffmpeg (Debian: apt-get install ffmpeg; macOS: brew install ffmpeg), or point FFMPEG_PATH and FFPROBE_PATH at one';
const TIMEOUT_MS = 20_000;

/** ffmpeg and ffprobe on this machine. It is the media worker's machine that counts: run doctor there. */
export async function checkFfmpeg(paths: { readonly ffmpeg: string; readonly ffprobe: string }): Promise<Finding[]> {
  const [banner, encoders, probe] = await Promise.all([
    ask(paths.ffmpeg, ['-version']),
    ask(paths.ffmpeg, ['-hide_banner', '-encoders']),
    ask(paths.ffprobe, ['-version']),
  ]);
  const findings: Finding[] = [];
  findings.push(banner.ok ? ok('ffmpeg.version', /version (\S+)/.exec(banner.stdout)?.[1] ?? 'unknown') : problem('ffmpeg.version', banner.reason, INSTALL));
  if (!probe.ok) findings.push(problem('ffmpeg.ffprobe', probe.reason, INSTALL));
  if (encoders.ok) {
    const listed = new Set(encoders.stdout.split('\n').map((row) => row.trim().split(/\s+/)[1]));
    const missing = ENCODERS.filter((encoder) => !listed.has(encoder));
    findings.push(
      missing.length === 0
        ? ok('ffmpeg.encoders', ENCODERS.join(', '))
        : problem('ffmpeg.encoders', `${paths.ffmpeg} cannot encode with ${missing.join(', ')}`, INSTALL),
    );
  }
  return findings;
}

async function ask(
  program: string,
  args: readonly string[],
): Promise<{ readonly ok: true; readonly stdout: string } | { readonly ok: false; readonly reason: string }> {
  try {
    const { stdout } = await run(program, [...args], { timeout: TIMEOUT_MS, maxBuffer: 4 * 1024 * 1024 });
    return { ok: true, stdout };
  } catch (error) {
    const { code } = error as { code?: unknown };
    return {
      ok: false,
      reason: code === 'ENOENT' ? `${program} is not installed` : `${program} does not run: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}
