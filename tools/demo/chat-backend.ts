import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { type ConfirmChannel, connect } from 'amqplib';
import pg from 'pg';

/** The other side: what a chat app's backend does, with the clients that any backend has. Nothing of Backhaul is imported here. */
export interface ChatBackend {
  /** Stores a file in the bucket, as the app's upload does. */
  upload(file: string, key: string, contentType: string): Promise<void>;
  /** Writes the message that a picture, video or voice note belongs to. */
  insertMessage(message: { id: string; senderId: string; chatId: string; content: string }): Promise<void>;
  /** Where the app's clients find the processed medium of a message; undefined while there is none. */
  mediaUrlOf(messageId: string): Promise<string | undefined>;
  /** Writes a story of the day before yesterday, whose picture is the given object. */
  insertExpiredStory(story: { id: string; userId: string; mediaKey: string }): Promise<void>;
  hasStory(id: string): Promise<boolean>;
  /** Publishes and waits until the broker has it. */
  publish(event: { routingKey: string; messageId: string; body: Buffer }): Promise<void>;
  close(): Promise<void>;
}

const CONFIRM_TIMEOUT_MS = 10_000;

/** Connects to RabbitMQ, Postgres and the object store by the variables of `.env.example`. */
export async function connectChatBackend(env: Readonly<Record<string, string>>): Promise<ChatBackend> {
  const variable = (name: string): string => {
    const value = env[name];
    if (value === undefined) throw new Error(`the stack gives no ${name}`);
    return value;
  };
  const bucket = variable('AWS_S3_BUCKET');
  const s3 = new S3Client({
    region: variable('AWS_REGION'),
    endpoint: variable('AWS_ENDPOINT_URL_S3'),
    forcePathStyle: true,
    credentials: { accessKeyId: variable('AWS_ACCESS_KEY_ID'), secretAccessKey: variable('AWS_SECRET_ACCESS_KEY') },
  });
  const database = new pg.Pool({ connectionString: variable('DATABASE_URL'), max: 2, connectionTimeoutMillis: 5_000, statement_timeout: 10_000 });
  database.on('error', () => undefined);
  const connection = await connect(variable('RABBITMQ_URL'), { timeout: 10_000, clientProperties: { connection_name: 'chat-backend' } });
  connection.on('error', () => undefined);
  const channel: ConfirmChannel = await connection.createConfirmChannel();
  channel.on('error', () => undefined);
  const returned = new Set<string>();
  channel.on('return', (message: { properties: { messageId?: string } }) => returned.add(message.properties.messageId ?? ''));

  return {
    async upload(file, key, contentType) {
      const { size } = await stat(file);
      await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: createReadStream(file), ContentLength: size, ContentType: contentType }));
    },
    async insertMessage({ id, senderId, chatId, content }) {
      await database.query('INSERT INTO messages (id, sender_id, chat_id, content) VALUES ($1, $2, $3, $4)', [id, senderId, chatId, content]);
    },
    async mediaUrlOf(messageId) {
      const { rows } = await database.query<{ media_url: string | null }>('SELECT media_url FROM messages WHERE id = $1', [messageId]);
      return rows[0]?.media_url ?? undefined;
    },
    async insertExpiredStory({ id, userId, mediaKey }) {
      const url = `${variable('AWS_ENDPOINT_URL_S3')}/${bucket}/${mediaKey}`;
      await database.query(`INSERT INTO stories (id, user_id, media_url, created_at) VALUES ($1, $2, $3, now() - interval '2 days')`, [id, userId, url]);
    },
    async hasStory(id) {
      const { rowCount } = await database.query('SELECT 1 FROM stories WHERE id = $1', [id]);
      return (rowCount ?? 0) > 0;
    },
    async publish({ routingKey, messageId, body }) {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`RabbitMQ did not confirm ${routingKey} within ${CONFIRM_TIMEOUT_MS} ms`)), CONFIRM_TIMEOUT_MS);
        const options = { messageId, persistent: true, mandatory: true, contentType: 'application/json', timestamp: Math.floor(Date.now() / 1_000) };
        channel.publish(env['RABBITMQ_EXCHANGE'] ?? 'sup_exchange', routingKey, body, options, (error: unknown) => {
          clearTimeout(late);
          if (error) reject(error instanceof Error ? error : new Error(`RabbitMQ refused ${routingKey}`));
          else resolve();
        });
      });
      if (returned.delete(messageId)) throw new Error(`RabbitMQ has no queue for ${routingKey}`);
    },
    async close() {
      s3.destroy();
      await Promise.allSettled([database.end(), connection.close()]);
    },
  };
}
