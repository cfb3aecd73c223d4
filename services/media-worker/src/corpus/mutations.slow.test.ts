import { sharedStack } from '@backhaul/testing';
import { mutatedRows } from './mutations.ts';
import { testRows } from './run-table.ts';

testRows(mutatedRows(1_000), sharedStack().env);
