import { withDeadline } from '@backhaul/runtime';
import type { Channel } from 'amqplib';
import type { Connection } from './connection.ts';
import { type Topology, deadQueue, declareTopology, workQueue } from './topology.ts';

/** How long the broker may take for one question. */
const ANSWER_TIMEOUT_MS = 5_000;

/**
 * Compares what the broker has with the topology: first that everything is
 * there, changing nothing; then, if it is, that it was declared in the same way
 * (quorum queues, delivery limit, dead-letter exchange). The second look
 * declares it all again, which also binds a queue that had lost its binding.
 *
 * @returns one line per problem; empty when all is well
 */
export async function checkTopology(connection: Connection, topology: Topology): Promise<string[]> {
  const problems: string[] = [];
  const exchange = await ask(connection, `exchange ${topology.exchange}`, (channel) => channel.checkExchange(topology.exchange));
  if (exchange !== undefined) problems.push(exchange);
  for (const queue of [...topology.queues.map((name) => workQueue(topology, name)), deadQueue(topology)]) {
    const problem = await ask(connection, `queue ${queue}`, (channel) => channel.checkQueue(queue));
    if (problem !== undefined) problems.push(problem);
  }
  if (problems.length > 0) return problems;
  const different = await ask(connection, 'topology', (channel) => declareTopology(channel, topology));
  return different === undefined ? [] : [different];
}

/** Asks on a channel of its own, because a no closes the channel. */
async function ask(connection: Connection, what: string, question: (channel: Channel) => Promise<unknown>): Promise<string | undefined> {
  const channel = await withDeadline('opening a channel', ANSWER_TIMEOUT_MS, connection.openChannel());
  // The refusal comes as the rejection too; without a listener the event ends the process.
  channel.on('error', () => undefined);
  try {
    await withDeadline(what, ANSWER_TIMEOUT_MS, question(channel));
    await channel.close();
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (/404|NOT_FOUND/.test(message)) return `${what} does not exist`;
    if (/403|ACCESS_REFUSED/.test(message)) return `${what}: the user may not use it (${message})`;
    if (/406|PRECONDITION_FAILED/.test(message)) return `${what} was declared in another way: ${message}`;
    throw error;
  }
}
