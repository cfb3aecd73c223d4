import { createDatabase } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { startStack } from '@backhaul/testing';
import { createProducer, redisOptions } from '@backhaul/queue';
import { createSamples } from './figure.ts';
import { debianPeers } from './notify/debian-peers.ts';
import { runFloor } from './notify/floor.ts';
import { nodePeers, runNodePeer } from './notify/node-peers.ts';
import { runOurs } from './notify/ours.ts';
import { racePushes } from './notify/push-fake.ts';

/**
 * How many notifications a second the fleet gets through, against job queues
 * that do nothing but take a job, run a no-op of the same payload and note its end.
 *
 * | figure | what is measured |
 * |---|---|
 * | notify.end_to_end | a backlog in RabbitMQ to a no-op provider, through bridge and notification worker: recorded, deduplicated, judged by the policy, claimed, sent, confirmed, shown in `notifications`, closed |
 * | notify.floor | the same backlog to one process that writes a row and updates it twice, and nothing else |
 * | notify.<peer> | a backlog in the peer's own store, by the better of one and two worker processes |
 * | notify.push_sender, notify.push_bare | the sender through firebase-admin, and a bare loop of the same requests, against the FCM fake |
 * | notify.push_fake | the first of the two ÷ the second |
 *
 * The clock of ours runs from the first message that the bridge may take. That
 * of a peer starts when a quarter of its backlog is done, so that the start of
 * its processes is not held against it.
 */
const ROUNDS = 3;
const MESSAGES = 40_000;
const SLOW_PEER_MESSAGES = 8_000;
/** Of 2,000 pushes each. */
const PUSH_SLICES = 6;

const samples = createSamples();
const stack = await startStack({ dir: '.backhaul/bench-notify', durable: true });
try {
  const database = createDatabase({
    url: stack.env['DATABASE_URL'] ?? '',
    poolSize: 4,
    statementTimeoutMs: 60_000,
    applicationName: 'bench',
    log: silentLogger,
  });
  const address = redisOptions({ REDIS_URL: stack.env['REDIS_URL'], REDIS_HOST: '', REDIS_PORT: 0 });
  const producer = await createProducer({ redis: address, prefix: 'bench', log: silentLogger, timeoutMs: 60_000 });
  const stores = { env: stack.env, database, redis: producer.redis };
  const slowPeers = debianPeers.filter((peer) => {
    const missing = peer.missing();
    if (missing !== undefined) process.stderr.write(`notify.${peer.name} is skipped. ${missing}\n`);
    return missing === undefined;
  });

  const processesOf = new Map<string, number>();
  for (const peer of nodePeers) {
    const [one, two] = [await runNodePeer(peer, stores, MESSAGES / 2, 1), await runNodePeer(peer, stores, MESSAGES / 2, 2)];
    process.stderr.write(`${peer.name}: ${Math.round(one)} jobs/s by one process, ${Math.round(two)} by two\n`);
    processesOf.set(peer.name, one >= two ? 1 : 2);
  }
  for (let round = 1; round <= ROUNDS; round += 1) {
    process.stderr.write(`round ${round} of ${ROUNDS}\n`);
    samples.add('notify.end_to_end', await runOurs(stores, MESSAGES));
    samples.add('notify.floor', await runFloor(stores, MESSAGES));
    for (const peer of nodePeers) samples.add(`notify.${peer.name}`, await runNodePeer(peer, stores, MESSAGES, processesOf.get(peer.name) ?? 1));
    for (const peer of slowPeers) samples.add(`notify.${peer.name}`, await peer.run(stores, SLOW_PEER_MESSAGES));
    const { bare, sender } = await racePushes(stack.env, PUSH_SLICES);
    samples.add('notify.push_bare', bare);
    samples.add('notify.push_sender', sender);
    samples.add('notify.push_fake', sender / bare);
    await stack.fakes.reset();
  }
  const peers = [...nodePeers, ...slowPeers].map(({ name }) => `notify.${name}`);
  for (const peer of peers) samples.print(peer, 'jobs/s');
  samples.print('notify.floor', 'messages/s');
  samples.print('notify.end_to_end', 'notifications/s', [...peers, 'notify.floor']);
  samples.print('notify.push_bare', 'pushes/s');
  samples.print('notify.push_sender', 'pushes/s', ['notify.push_bare']);
  samples.print('notify.push_fake', 'times');
  await producer.close();
  await database.close();
} finally {
  await stack.stop({ removeData: true });
}
