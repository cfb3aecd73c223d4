import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '@backhaul/runtime';
import { type FakesClient, type Stack, type StackServer, startStack } from '@backhaul/testing';
import { type Channels, createChannels } from './channels.ts';
import { notificationWorkerConfig } from './config.ts';

/** For tests: the worker's channels, made from an environment as in production, with the fakes behind them. */
export interface TestChannels {
  readonly stack: Stack;
  readonly fakes: FakesClient;
  /** Channels for the stack's environment with these changes; closed with the stack. */
  channels(changes?: Readonly<Record<string, string>>): Promise<Channels>;
  close(): Promise<void>;
}

/** Starts private servers in a folder of their own. */
export async function startTestChannels(only: readonly StackServer[] = ['fakes']): Promise<TestChannels> {
  const stack = await startStack({ dir: await mkdtemp(join(tmpdir(), 'backhaul-notify-')), only, report() {} });
  const opened: Channels[] = [];
  return {
    stack,
    fakes: stack.fakes,
    async channels(changes = {}) {
      // Required, but not touched by a channel.
      const channels = await createChannels(loadConfig(notificationWorkerConfig, { DATABASE_URL: 'postgres://127.0.0.1:1/none', ...stack.env, ...changes }));
      opened.push(channels);
      return channels;
    },
    async close() {
      for (const { push, mail } of opened) {
        await push.close?.();
        await mail.close?.();
      }
      await stack.stop({ removeData: true });
    },
  };
}
