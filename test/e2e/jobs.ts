import { expect, vi } from 'vitest';
import type { LiveNomad } from './live.ts';

/** A batch job of one task. @param task HCL of the task: `vault {}`, `identity {}`. */
export function batchJob(id: string, script: string, task: string): string {
  return `job "${id}" {
  type = "batch"
  group "main" {
    reschedule { attempts = 0 }
    restart { attempts = 0 }
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", ${JSON.stringify(script)}]
      }
      ${task}
    }
  }
}`;
}

/** Runs a job to its end. @returns what its task printed. */
export async function runBatch(live: LiveNomad, id: string, script: string, task: string): Promise<string> {
  const hcl = batchJob(id, script, task);
  const parsed = await live.request<unknown>('POST', '/v1/jobs/parse', { JobHCL: hcl, Canonicalize: true });
  expect(parsed.status, JSON.stringify(parsed.body)).toBe(200);
  await live.request('PUT', '/v1/jobs', { Job: parsed.body });
  const allocation = await vi.waitFor(
    async () => {
      const { body } = await live.request<{ ID: string; ClientStatus: string; TaskStates: unknown }[]>(
        'GET',
        `/v1/job/${id}/allocations`,
      );
      expect(body[0]?.ClientStatus, JSON.stringify(body[0]?.TaskStates)).toBe('complete');
      return body[0]?.ID ?? '';
    },
    { timeout: 60_000, interval: 200 },
  );
  return vi.waitFor(
    async () => {
      const { body } = await live.request<string | number>(
        'GET',
        `/v1/client/fs/logs/${allocation}?task=main&type=stdout&plain=true`,
      );
      expect(String(body)).not.toBe('');
      return String(body).trim();
    },
    { timeout: 20_000, interval: 200 },
  );
}
