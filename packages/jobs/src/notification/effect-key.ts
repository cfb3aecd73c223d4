import { hash } from 'node:crypto';

/** The key of a send in the ledger: channel, message, and a digest of the address, which is nobody's business there. */
export function effectKey(channel: string, messageId: string, address: string): string {
  return `${channel}:${messageId}:${digest(address).slice(0, 16)}`;
}

/** 32 hex digits that stand for `key` towards a provider: collapse key, left side of the Message-ID. */
export function effectHash(key: string): string {
  return digest(key).slice(0, 32);
}

/** What the pushes to a user with this collapse id are called towards the providers and on the device. Hashed: a chat's name is nothing for the headers of three providers, and Apple takes no more than 64 bytes. */
export function collapseKeyOf(userId: string, collapseId: string): string {
  return effectHash(`collapse:${userId}:${collapseId}`);
}

function digest(value: string): string {
  return hash('sha256', value);
}
