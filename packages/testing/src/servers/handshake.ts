import { connect } from 'node:net';

/**
 * Connect to a loopback port, say something, and look at the first bytes of the answer. A server listens
 * before it can work; its own protocol tells when it does.
 *
 * @param isReady called with everything received so far; undefined means wait for more
 */
export function handshake(port: number, hello: Buffer | string, isReady: (received: Buffer) => boolean | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    const socket = connect({ port, host: '127.0.0.1' });
    const end = (ready: boolean): void => {
      socket.destroy();
      resolve(ready);
    };
    socket.setTimeout(2_000, () => end(false));
    socket.once('error', () => end(false));
    socket.once('close', () => end(false));
    socket.once('connect', () => socket.write(hello));
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
      const ready = isReady(received);
      if (ready !== undefined) end(ready);
    });
  });
}
