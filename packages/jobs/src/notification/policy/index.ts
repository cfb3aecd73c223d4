export { isTimeZone } from './quiet-hours.ts';
