import { rabbitEnv } from '@backhaul/broker';
import { databaseEnv } from '@backhaul/database';
import { redisEnv } from '@backhaul/queue';
import { secret, serviceEnv, url } from '@backhaul/runtime';
import { z } from 'zod';

/** What the ops API reads from its environment. */
export const opsApiConfig = z
  .object({
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
    /** The auth token of the provider of text messages, which signs what it reports with it. */
    SMS_API_SECRET: secret().optional(),
    /** The address under which the provider reaches /webhooks/twilio/ of this service, without that path; its reports are off without it. */
    SMS_WEBHOOK_BASE_URL: url('https', 'http').optional(),
  })
  .refine((config) => config.SMS_WEBHOOK_BASE_URL === undefined || config.SMS_API_SECRET !== undefined, {
    path: ['SMS_API_SECRET'],
    error: 'is required when SMS_WEBHOOK_BASE_URL is set: reports are believed by their signature',
  });
