import { endianness } from 'node:os';

/** System calls by their number on one architecture; from the kernel's tables (`asm/unistd.h`). */
interface Calls {
  /** AUDIT_ARCH_* of `linux/audit.h`. */
  readonly audit: number;
  readonly clone: number;
  readonly clone3: number;
}

const CALLS: Readonly<Record<string, Calls>> = {
  x64: { audit: 0xc000003e, clone: 56, clone3: 435 },
  arm64: { audit: 0xc00000b7, clone: 220, clone3: 435 },
};

/** What a decoder has no use for. Newer architectures lack the older form of a call. */
const DENIED: readonly { readonly x64: readonly number[]; readonly arm64: readonly number[] }[] = [
  // fork, vfork: processes, of which one could get away.
  { x64: [57, 58], arm64: [] },
  // socket
  { x64: [41], arm64: [198] },
  // symlink, symlinkat, link, linkat, mknod, mknodat: the worker would read, and publish, what a link in the place of an output points at, or hang at a pipe.
  { x64: [88, 266, 86, 265, 133, 259], arm64: [36, 37, 33] },
  // memfd_create, shmget: memory that the limit of address space does not count.
  { x64: [319, 29], arm64: [279, 194] },
  // unshare, setns, mount: other worlds.
  { x64: [272, 308, 165], arm64: [97, 268, 40] },
  // ptrace, process_vm_readv
  { x64: [101, 310], arm64: [117, 270] },
  // add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd: the parts of the kernel that exploits begin with.
  { x64: [248, 249, 250, 321, 298, 323], arm64: [217, 218, 219, 280, 241, 282] },
  // io_uring_setup: its calls pass by filters like this one.
  { x64: [425], arm64: [425] },
];

const LOAD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_AT_LEAST = 0x35;
const JUMP_IF_SET = 0x45;
const RETURN = 0x06;

const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const refuse = (errno: number) => 0x00050000 | errno;
const EPERM = 1;
const ENOSYS = 38;
const CLONE_THREAD = 0x0001_0000;

/** In `struct seccomp_data`. */
const OFFSET = { number: 0, architecture: 4, firstArgument: 16 };

/**
 * A seccomp filter under which a program may start threads but no processes,
 * open no socket and make no link, as the bytes that the kernel takes (`struct
 * sock_filter[]`, seccomp(2)). undefined for machines whose numbers we do not have.
 */
export function decoderFilter(architecture: string): Buffer | undefined {
  const calls = CALLS[architecture];
  if (calls === undefined || endianness() !== 'LE') return undefined;
  const denied = DENIED.flatMap((group) => (architecture === 'arm64' ? group.arm64 : group.x64));
  const rules: (readonly [code: number, value: number, ifTrue: number, ifFalse: number])[] = [
    [LOAD, OFFSET.architecture, 0, 0],
    [JUMP_IF_EQUAL, calls.audit, 1, 0],
    // Another architecture's numbers would pass the list unseen.
    [RETURN, KILL, 0, 0],
    [LOAD, OFFSET.number, 0, 0],
    // x32: the same calls under other numbers.
    [JUMP_IF_AT_LEAST, 0x4000_0000, 0, 1],
    [RETURN, refuse(EPERM), 0, 0],
    // Its flags lie in memory, where a filter cannot look. "Not there" makes the C library use clone.
    [JUMP_IF_EQUAL, calls.clone3, 0, 1],
    [RETURN, refuse(ENOSYS), 0, 0],
    ...denied.flatMap((number): [number, number, number, number][] => [
      [JUMP_IF_EQUAL, number, 0, 1],
      [RETURN, refuse(EPERM), 0, 0],
    ]),
    [JUMP_IF_EQUAL, calls.clone, 0, 3],
    [LOAD, OFFSET.firstArgument, 0, 0],
    [JUMP_IF_SET, CLONE_THREAD, 1, 0],
    [RETURN, refuse(EPERM), 0, 0],
    [RETURN, ALLOW, 0, 0],
  ];
  const program = Buffer.alloc(rules.length * 8);
  for (const [index, [code, value, ifTrue, ifFalse]] of rules.entries()) {
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(ifTrue, index * 8 + 2);
    program.writeUInt8(ifFalse, index * 8 + 3);
    program.writeUInt32LE(value, index * 8 + 4);
  }
  return program;
}
