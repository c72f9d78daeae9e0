import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/**
 * Ends what an agent that is gone leaves behind, by design of Nomad: its tasks run on, each under an executor, waiting for
 * the agent to come back, and run as root their secrets directories stay mounted. Synchronous, for use while exiting; on
 * other systems than Linux it does nothing.
 */
export function endTasks(dataDir: string): void {
  if (!existsSync('/proc/self/environ')) return;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (belongsTo(pid, `${dataDir}/alloc/`)) kill(Number(pid));
  }
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${dataDir}/`));
  if (mounts.length > 0) spawnSync('umount', ['--lazy', ...mounts]);
}

/** An executor carries paths of its task in the command line, a task NOMAD_ALLOC_DIR in the environment. */
function belongsTo(pid: string, allocations: string): boolean {
  try {
    if (readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`NOMAD_ALLOC_DIR=${allocations}`)) return true;
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return command.includes('\0executor\0') && command.includes(allocations);
  } catch {
    return false; // Ended meanwhile, or not ours to read.
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Ended meanwhile.
  }
}
