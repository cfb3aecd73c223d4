import { createDeadLetters, createJobs, explain } from '@backhaul/database';
import { withDeadline } from '@backhaul/runtime';
import type { Connections } from '../connections.ts';
import { CommandFailure, EXIT, type ExitCode, failureOf } from '../exit-codes.ts';
import { exitCodeOf, explanationText, findStory, stateOf, storyDocument, storyText } from '../message-story.ts';
import { type Terminal, duration, table } from '../terminal.ts';

const LOOK_TIMEOUT_MS = 10_000;

/** `backhaul jobs <message-id>`: the whole history of one message. 1 when it is dead, 4 when nothing is known of it. */
export async function showJob(connections: Connections, terminal: Terminal, messageId: string): Promise<ExitCode> {
  const story = await findStory(connections, messageId);
  if (story === undefined)
    throw new CommandFailure(EXIT.notFound, 'not_found', `nothing is known of ${messageId}: it never came, or it was done so long ago that it was pruned`);
  terminal.answer(storyDocument(story), () => storyText(story));
  return exitCodeOf(stateOf(story));
}

/** `backhaul explain <message-id>`: what decided, and every step from the record to the provider's answer. 0 also for what is dead: the question was answered. */
export async function explainMessage(connections: Connections, terminal: Terminal, messageId: string, userId: string | undefined): Promise<ExitCode> {
  const story = await findStory(connections, messageId);
  const explanation = story === undefined ? undefined : explain(story, userId);
  if (explanation === undefined)
    throw new CommandFailure(
      EXIT.notFound,
      'not_found',
      `nothing is known of ${messageId}${userId === undefined ? '' : ` for user ${userId}`}: it never came, or it was done so long ago that it was pruned`,
    );
  terminal.answer(explanation, () => explanationText(explanation));
  return EXIT.ok;
}

/** `backhaul queues`: what each Bull queue holds now. */
export async function showQueues(connections: Connections, terminal: Terminal): Promise<ExitCode> {
  const inspector = await connections.inspector();
  const figures = await withDeadline('looking into the queues', LOOK_TIMEOUT_MS, inspector.all());
  terminal.answer({ queues: figures }, () =>
    table(
      ['queue', 'waiting', 'active', 'delayed', 'oldest waits', 'mean run', 'workers wanted', 'paused'],
      figures.map((each) => [
        each.queue,
        each.waiting,
        each.active,
        each.delayed,
        each.waiting === 0 ? null : duration(each.oldestWaitingSeconds * 1_000),
        each.meanRunMs === null ? null : duration(each.meanRunMs),
        each.desiredWorkers,
        each.paused ? 'yes' : 'no',
      ]),
    ),
  );
  return EXIT.ok;
}

/** `backhaul status`: the servers, the open jobs and the dead letters at a glance. 3 when a server is away; what the others say is shown all the same. */
export async function showStatus(connections: Connections, terminal: Terminal): Promise<ExitCode> {
  const database = () => connections.database();
  const [postgres, redis, rabbitmq, summary, deadLetters] = await Promise.all([
    reach(async () => database().ping()),
    reach(async () => (await connections.redis()).ping()),
    reach(async () => connections.broker()),
    reach(async () => createJobs(database()).summary()),
    reach(async () => createDeadLetters(database()).counts()),
  ]);
  const servers = { postgres, redis, rabbitmq };
  const document = {
    servers: Object.fromEntries(
      Object.entries(servers).map(([name, { ok, ...rest }]) => [name, { ok, ...('problem' in rest ? { problem: rest.problem } : {}) }]),
    ),
    openJobs: summary.ok ? summary.value : null,
    deadLetters: deadLetters.ok ? deadLetters.value : null,
  };
  terminal.answer(document, () =>
    [
      table(
        ['server', 'state'],
        Object.entries(servers).map(([name, server]) => [name, server.ok ? 'ok' : server.problem]),
      ),
      '',
      summary.ok
        ? table(
            ['queue', 'open jobs', 'count', 'oldest'],
            summary.value.map(({ queue, status, count, oldestSeconds }) => [queue, status, count, duration(oldestSeconds * 1_000)]),
          )
        : `open jobs: ${summary.problem}`,
      '',
      deadLetters.ok
        ? table(
            ['queue', 'dead letters', 'count'],
            deadLetters.value.map(({ queue, reason, count }) => [queue, reason, count]),
          )
        : `dead letters: ${deadLetters.problem}`,
    ].join('\n'),
  );
  const away = [postgres, redis, rabbitmq, summary, deadLetters].flatMap((each) => (each.ok ? [] : [each.exitCode]));
  // A wrong variable first: no server can be reached through it, and it is the caller's to mend.
  return away.includes(EXIT.usage) ? EXIT.usage : away.includes(EXIT.unreachable) ? EXIT.unreachable : (away[0] ?? EXIT.ok);
}

type Reached<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly problem: string; readonly exitCode: ExitCode };

async function reach<Value>(ask: () => Promise<Value>): Promise<Reached<Value>> {
  try {
    return { ok: true, value: await withDeadline('the answer', LOOK_TIMEOUT_MS, ask()) };
  } catch (error) {
    const { message, exitCode } = failureOf(error);
    return { ok: false, problem: message, exitCode };
  }
}
