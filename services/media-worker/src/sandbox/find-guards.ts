import { execa } from 'execa';
import { type Guards, bubble } from './guards.ts';
import { decoderFilter } from './seccomp.ts';

const DIE_WITH_US = ['--pdeathsig', 'KILL', '--no-new-privs'];

/** For a worker that runs as root: its children could lift their own limits again. */
const WITHOUT_RIGHTS = ['--bounding-set=-all', '--inh-caps=-all'];

/** Looks, once, which guards work here: being installed is not enough, a container's own rules may forbid what they do. */
export async function findGuards(path: string): Promise<Guards> {
  const works = async (program: string, args: readonly string[]) => {
    const result = await execa(program, args, { reject: false, timeout: 5_000, stdio: 'ignore', extendEnv: false, env: { PATH: path } });
    return !result.failed;
  };
  const wrapped = bubble('/tmp', 'true');
  const [bwrap, asRoot, asUser, prlimit] = await Promise.all([
    works('bwrap', [...wrapped, 'true']),
    works('unshare', ['--net', 'true']),
    works('unshare', ['--map-root-user', '--net', 'true']),
    works('prlimit', ['--core=0', 'true']),
  ]);
  const unshare = asRoot ? ['--net'] : asUser ? ['--map-root-user', '--net'] : undefined;
  // As they will be chained: whether rights can be given up depends on what went before.
  const chained = (setpriv: readonly string[]) =>
    unshare === undefined ? works('setpriv', [...setpriv, 'true']) : works('unshare', [...unshare, 'setpriv', ...setpriv, 'true']);
  const [poorer, plain] = await Promise.all([chained([...DIE_WITH_US, ...WITHOUT_RIGHTS]), chained(DIE_WITH_US)]);
  const setpriv = poorer ? [...DIE_WITH_US, ...WITHOUT_RIGHTS] : plain ? DIE_WITH_US : undefined;
  return { bwrap, filter: bwrap ? decoderFilter(process.arch) : undefined, unshare, setpriv, prlimit };
}
