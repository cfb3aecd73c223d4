export { InvalidConfig, loadConfig, type ConfigProblem } from './config.ts';
export { DeadlineExceeded, pause, withDeadline } from './deadline.ts';
export { bool, bytes, integer, milliseconds, port, secret, text, url } from './env-types.ts';
export { armFailpoint, failpoint } from './failpoint.ts';
export { bearerMatches, createHealthServer, type Check, type CheckResult, type HealthServer, type HealthServerOptions } from './health-server.ts';
export { createLogger, describeError, silentLogger, type LogFields, type Logger, type LoggerOptions } from './logger.ts';
export { createMetrics, type Metrics, type SystemFigures } from './metrics.ts';
export { retryAfterMs } from './retry-after.ts';
export { runService, serviceEnv, type Closeable, type ServiceContext } from './run-service.ts';
