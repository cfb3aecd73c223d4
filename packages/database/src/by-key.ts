/*
 * For statements about the many rows that a caller names: they must find them by their keys whatever the planner thinks.
 *
 * Told of some hundred keys it reads a table of up to some ten thousand rows as a whole instead, for each statement, and in a
 * backlog it walks all open jobs when it last counted them while they were few. Both make such a statement several times as dear.
 */

/** Takes all rows of a list, and has the planner expect next to none of them: it then looks each up by key. */
export const ofFew = (key: string) => `num_nulls(${key}) = 0`;

/** Whether a job is open, said so that the index of all open jobs seems of no use. */
export const IS_OPEN = 'num_nulls(finished_at) = 1';
