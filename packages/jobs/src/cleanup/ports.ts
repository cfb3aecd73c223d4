/** What the cleanup handlers need of the world outside. The cleanup-worker implements it. */
export interface CleanupPorts {
  readonly pace: Pace;
  readonly stories: ExpiringRows<MediaRow>;
  readonly messages: ExpiringRows<MediaRow>;
  readonly temporaryFiles: ExpiringRows<TemporaryFile>;
  readonly sessions: Sessions;
  readonly prekeys: Prekeys;
  readonly mediaOwners: MediaOwners;
  readonly statistics: UserStatistics;
  readonly cursors: Cursors;
  readonly objects: Objects;
  readonly localFiles: LocalFiles;
  readonly maintenance: Maintenance;
  readonly health: Health;
}

/** How hard the cleaning may press on a database that the chat is using. */
export interface Pace {
  /** Rows per batch at most, 1 to 1,000. Slow batches are made smaller by themselves. */
  readonly batchSize: number;
  /** The rest between two batches. */
  readonly pauseMs: number;
  /** When a run stops by itself; well below the job's time limit, as the batch under way still has to end. */
  readonly budgetMs: number;
}

/** Old rows that something outside the database belongs to. */
export interface ExpiringRows<Row extends { readonly id: string }> {
  /**
   * Takes up to `limit` of the oldest expired rows, for this cleaner alone,
   * calls `dispose` with them, and deletes those whose ids it returns. All in
   * one transaction: rows that another cleaner holds are passed over, and a
   * row cannot come back to life while its belongings are being deleted.
   *
   * When it throws, or the process dies, every row is still there.
   *
   * @param options.skip rows that this run could not dispose of, not to be taken again
   */
  takeBatch(
    options: { readonly olderThanMs: number; readonly limit: number; readonly skip: readonly string[] },
    dispose: (rows: readonly Row[]) => Promise<readonly string[]>,
  ): Promise<{ readonly taken: number; readonly deleted: number }>;
}

/** A story or a message with what it shows. */
export interface MediaRow {
  readonly id: string;
  /** `media_url` and `thumbnail_url`, as far as they are set. */
  readonly urls: readonly string[];
  /** Those of them that a row outside the batch shows too (forwarded, shared again): their objects must stay. */
  readonly sharedUrls: readonly string[];
  /** Whether media were ever processed for it. */
  readonly hasMedia: boolean;
}

/** A row of `temporary_files`. */
export interface TemporaryFile {
  readonly id: string;
  /** A key of the bucket, or an absolute path. */
  readonly path: string;
}

/** `user_sessions`. */
export interface Sessions {
  /** Deletes up to `limit` sessions that were not active for so long. Returns how many. */
  deleteIdle(options: { readonly idleMs: number; readonly limit: number }): Promise<number>;
  /** Marks up to `limit` active sessions without a sign of life for so long as not active. Returns how many. */
  markAway(options: { readonly idleMs: number; readonly limit: number }): Promise<number>;
}

/** `user_prekeys`. */
export interface Prekeys {
  /** The next users that have prekeys, in a stable order; from the start without `after`. */
  usersAfter(after: string | undefined, limit: number): Promise<readonly string[]>;
  /** Deletes up to `limit` outdated prekeys of these users; of each user the newest `keepUnused` unused ones stay, however old. Returns how many. */
  deleteOutdated(options: {
    readonly userIds: readonly string[];
    readonly usedForMs: number;
    readonly unusedForMs: number;
    readonly keepUnused: number;
    readonly limit: number;
  }): Promise<number>;
}

/** Who still needs an object under `media/<message id>/`. */
export interface MediaOwners {
  /** Of these message ids, the ones that have a row in `messages`, deleted or not: a deleted message's media go when it is purged. */
  existing(messageIds: readonly string[]): Promise<ReadonlySet<string>>;
  /** Of these URLs, the ones that a message or a story shows. */
  shown(urls: readonly string[]): Promise<ReadonlySet<string>>;
}

/** `backhaul.user_statistics`. */
export interface UserStatistics {
  /** The next users that ever sent, posted or signed in, in a stable order; from the start without `after`. */
  usersAfter(after: string | undefined, limit: number): Promise<readonly string[]>;
  /** Counts anew for these users. */
  refresh(userIds: readonly string[]): Promise<void>;
}

/** Where long walks stopped, kept between runs. */
export interface Cursors {
  load(name: string): Promise<string | undefined>;
  /** Undefined: the walk came to its end and starts anew next time. */
  save(name: string, position: string | undefined): Promise<void>;
}

/** The bucket. */
export interface Objects {
  /** Every object under a prefix in the order of its key, from after `after` on. */
  list(prefix: string, options: { readonly after?: string | undefined; readonly signal: AbortSignal }): AsyncIterable<StoredObject>;
  /** Deletes; a key that does not exist counts as deleted. Returns the keys that could not be deleted. */
  deleteMany(keys: readonly string[], signal: AbortSignal): Promise<ReadonlySet<string>>;
  /** The key behind one of our URLs; undefined for a URL of somebody else's. */
  readonly keyOf: (url: string) => string | undefined;
  /** The URL that the database has for a key. */
  readonly publicUrl: (key: string) => string;
}

/** One object of a listing. */
export interface StoredObject {
  readonly key: string;
  readonly modifiedAt: Date;
}

/** What came of removing a local file. `absent` is as good as `removed`; the rest leaves it where it is. */
export type LocalRemoval = 'removed' | 'absent' | 'outside' | 'not_a_file' | 'no_folder';

/** The folder for temporary files. */
export interface LocalFiles {
  /** Removes a file if it really lies in the folder, symbolic links resolved. */
  remove(path: string): Promise<LocalRemoval>;
}

/** Upkeep of the database. */
export interface Maintenance {
  /** Deletes what is finished and older than the retention from the fleet's own tables. Returns how many rows, by table. */
  prune(options: { readonly batchSize: number; readonly signal: AbortSignal }): Promise<Readonly<Record<string, number>>>;
  /** Reclaims a table's dead rows and refreshes the planner's figures. Throws when it could not. */
  vacuum(table: string): Promise<void>;
}

/** What a health check looks at. */
export interface Health {
  /** Each rejects with the reason when its dependency cannot do its work. */
  readonly dependencies: Readonly<Record<string, () => Promise<unknown>>>;
  /** Open jobs and the oldest one's age, by queue. */
  openJobs(): Promise<readonly { readonly queue: string; readonly open: number; readonly oldestSeconds: number }[]>;
}
