import { endianness } from 'node:os';

/** System calls of one architecture, by number; from the kernel's tables (`asm/unistd.h`). */
interface Calls {
  /** AUDIT_ARCH_* of `linux/audit.h`. */
  readonly audit: number;
  readonly clone: number;
  readonly clone3: number;
  readonly denied: readonly number[];
}

/**
 * What a decoder has no use for: sockets, tracing others, new namespaces and
 * mounts, loading programs into the kernel, rings that bypass such filters.
 */
const CALLS: Readonly<Record<string, Calls>> = {
  x64: {
    audit: 0xc000003e,
    clone: 56,
    clone3: 435,
    // fork, vfork, socket, ptrace, unshare, setns, mount, keyctl, bpf, perf_event_open, userfaultfd, process_vm_readv, io_uring_setup
    denied: [57, 58, 41, 101, 272, 308, 165, 250, 321, 298, 323, 310, 425],
  },
  arm64: {
    audit: 0xc00000b7,
    clone: 220,
    clone3: 435,
    denied: [198, 117, 97, 268, 40, 219, 280, 241, 282, 270, 425],
  },
};

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
 * and can open no socket, as the bytes that the kernel takes (`struct
 * sock_filter[]`, seccomp(2)). undefined for machines whose numbers we do not have.
 */
export function decoderFilter(architecture: string): Buffer | undefined {
  const calls = CALLS[architecture];
  if (calls === undefined || endianness() !== 'LE') return undefined;
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
    ...calls.denied.flatMap((number): [number, number, number, number][] => [
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
