import { rabbitEnv } from '@backhaul/broker';
import { databaseEnv } from '@backhaul/database';
import { redisEnv } from '@backhaul/queue';
import { secret, serviceEnv } from '@backhaul/runtime';
import { z } from 'zod';

/** What the ops API reads from its environment. */
export const opsApiConfig = z.object({
  ...serviceEnv,
  ...redisEnv,
  ...databaseEnv,
  /** Needed to retry dead messages of the bridge; everything else works without. */
  RABBITMQ_URL: rabbitEnv.RABBITMQ_URL.optional(),
  RABBITMQ_EXCHANGE: rabbitEnv.RABBITMQ_EXCHANGE,
  /**
   * Bearer token of the routes that change something; they are off without it.
   * Not SHUTDOWN_TOKEN: whoever may restart a pod need not be allowed to send people's messages again.
   */
  OPS_TOKEN: secret().optional(),
});
