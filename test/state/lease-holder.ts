import { openKubernetes } from '../../src/kubernetes/client.ts';
import { kubernetesState } from '../../src/state/kubernetes.ts';
import { leaseTimes } from '../../src/state/lease.ts';

/** A process that takes the lock and says ten times a second whether it may act. Arguments: kubeconfig, owner, seconds of the lease. */

const [kubeconfig = '', owner = '', seconds = ''] = process.argv.slice(2);
const api = await openKubernetes({ kubeconfig });
const times = leaseTimes(Number(seconds));
const state = kubernetesState({ api, namespace: 'default', owner, holder: `process ${String(process.pid)}`, times });
const lock = await state.lock(new AbortController().signal);
lock.lost.addEventListener('abort', () => {
  console.log('lost');
});
const say = (): void => {
  console.log(lock.isValid() ? 'valid' : 'invalid');
};
say();
setInterval(say, 100);
