export { createTelemetry, type Telemetry, type TelemetryOptions } from './observer.ts';
export { serveOperations, type OperationsOptions, type OperationsServer } from './server.ts';
export { DEFAULT_LISTEN, parseListen } from './listen.ts';
export { LOG_FORMATS, LOG_LEVELS, type Log, type LogFormat, type LogLevel, type LogOptions } from './log.ts';
