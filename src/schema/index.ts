export { crd, crdYaml, yaml } from './crd.ts';
export { referenceIndex, referencePage } from './reference.ts';
export { withKinds } from './lists.ts';
