export { DatabaseUnavailable, createDatabase, sqlState, type Database, type DatabaseOptions, type Queryable, type SqlResult, type SqlValue } from './database.ts';
export { createEffects, type EffectClaim, type EffectRow, type Effects } from './effects.ts';
