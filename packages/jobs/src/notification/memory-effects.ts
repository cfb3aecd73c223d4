import type { EffectLedger } from './ports.ts';

/** A row of the ledger in memory. */
interface MemoryEffect {
  readonly messageId: string;
  state: 'claimed' | 'confirmed' | 'unknown' | 'refused';
  token: string;
  expired: boolean;
  providerId: string | null;
  claimedAt: Date;
  confirmedAt: Date;
}

/** The ledger's rules in memory, for tests of handlers. `expireLeases` lets the time of every claim run out. */
export function memoryEffects(): EffectLedger & { readonly rows: Map<string, MemoryEffect>; expireLeases(): void } {
  const rows = new Map<string, MemoryEffect>();
  let tokens = 0;
  const held = (key: string, token: string): MemoryEffect | undefined => {
    const row = rows.get(key);
    return row?.token === token && row.state === 'claimed' ? row : undefined;
  };
  return {
    rows,
    expireLeases() {
      for (const row of rows.values()) row.expired = true;
    },
    claimAll(claims, options) {
      return Promise.all(claims.map(({ key, messageId }) => this.claim(key, { messageId, ...options })));
    },
    confirmAll(effects) {
      return Promise.all(effects.map(({ key, token, providerId }) => this.confirm(key, token, providerId)));
    },
    async claim(key, { messageId, leaseMs }) {
      tokens += 1;
      const token = `token-${tokens}`;
      const row = rows.get(key);
      if (row === undefined) {
        rows.set(key, { messageId, state: 'claimed', token, expired: false, providerId: null, claimedAt: new Date(), confirmedAt: new Date(0) });
        return { state: 'claimed', token };
      }
      if (row.state === 'confirmed') return { state: 'confirmed', providerId: row.providerId, confirmedAt: row.confirmedAt };
      if (row.state === 'unknown') return { state: 'unknown' };
      if (row.state === 'refused') return { state: 'refused', detail: null };
      if (!row.expired) return { state: 'busy', leaseUntil: new Date(Date.now() + leaseMs) };
      row.token = token;
      row.expired = false;
      return { state: 'ambiguous', token, claimedAt: row.claimedAt };
    },
    async confirm(key, token, providerId) {
      const row = held(key, token);
      if (row === undefined) return false;
      row.state = 'confirmed';
      row.confirmedAt = new Date();
      row.providerId = providerId;
      return true;
    },
    async release(key, token) {
      if (held(key, token) !== undefined) rows.delete(key);
    },
    async giveUp(key, token) {
      const row = held(key, token);
      if (row !== undefined) row.state = 'unknown';
    },
    async refuse(key, token) {
      const row = held(key, token);
      if (row !== undefined) row.state = 'refused';
      return row !== undefined;
    },
    async disprove(key) {
      const row = rows.get(key);
      if (row?.state === 'confirmed') row.state = 'refused';
    },
    async of(messageId) {
      return [...rows].flatMap(([key, row]) => (row.messageId === messageId ? [{ key, state: row.state }] : []));
    },
  };
}
