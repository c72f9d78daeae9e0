import { Command, InvalidArgumentError, Option } from 'commander';
import { crdYaml } from '../schema/index.ts';
import { kinds } from '../kinds/index.ts';
import { duration } from '../kinds/schema.ts';
import { agentConfig, type AgentConfigOptions } from './commands/agent-config.ts';
import { apply, destroy, type ApplyOptions } from './commands/apply.ts';
import { bootstrap, type BootstrapOptions } from './commands/bootstrap.ts';
import { doctor, type DoctorOptions } from './commands/doctor.ts';
import { initAuth, PLATFORMS, type InitAuthOptions } from './commands/init-auth.ts';
import { importLive, type ImportOptions } from './commands/import.ts';
import { plan } from './commands/plan.ts';
import { run as follow, type RunOptions } from './commands/run.ts';
import { sandbox, type SandboxCommandOptions } from './commands/sandbox.ts';
import { status } from './commands/status.ts';
import { validate, type ValidateOptions } from './commands/validate.ts';
import { DEFAULT_OWNER, type ManifestOptions } from './options.ts';
import type { Output } from './report.ts';
import type { Terminal } from './terminal.ts';
import { DEFAULT_LISTEN, LOG_FORMATS, LOG_LEVELS } from '../telemetry/index.ts';
import { VERSION } from './version.ts';

type Run = (code: Promise<number>) => Promise<void>;

/**
 * The command line.
 * @param finish gets the exit code of the command that was run.
 * @param stop aborted when the process shall end: what is running is finished, nothing new is begun.
 */
export function program(terminal: Terminal, stop: AbortSignal, finish: (code: number) => void): Command {
  const run: Run = async (code) => {
    finish(await code);
  };
  const root = new Command('nomad-access')
    .description('Keeps ACLs on Nomad, and the login of Nomad workloads to Vault, equal to what is declared in YAML.')
    .version(VERSION, '--version')
    .showHelpAfterError('(--help tells more)')
    .addHelpText(
      'after',
      '\nServers and credentials are those of NOMAD_ADDR, NOMAD_TOKEN, VAULT_ADDR, VAULT_TOKEN and so on, as nomad and vault\n' +
        'read them, unless manifests declare a NomadCluster or a VaultServer. To try it without servers: nomad-access sandbox',
    )
    .configureOutput({
      writeOut: (text) => {
        terminal.out(text.trimEnd());
      },
      writeErr: (text) => {
        terminal.err(text.trimEnd());
      },
    });

  root
    .command('validate')
    .description('check manifests, without a server')
    .addOption(manifestsOption().makeOptionMandatory())
    .addOption(output('text', 'json'))
    .addHelpText('after', examples('validate -f access', 'validate -f - < team.yaml'))
    .action((options: ValidateOptions) => run(validate(options, terminal, stop)));

  manifests(root.command('plan').description('show what apply would do'), true)
    .addOption(output('text', 'json', 'markdown'))
    .option('--detailed-exitcode', 'exit with 2 when there are changes', false)
    .addHelpText('after', examples('plan -f access', 'plan -f access -o markdown --detailed-exitcode'))
    .action((options: ManifestOptions & { output: Output; detailedExitcode: boolean }) =>
      run(plan(options, terminal, stop)),
    );

  confirmable(manifests(root.command('apply').description('make the servers equal to the manifests'), true))
    .option('--allow-mass-delete', 'go on though more than half of what is recorded would be deleted', false)
    .addHelpText('after', examples('apply -f access', 'apply -f policies -f tokens --state access.state.json --yes'))
    .action((options: ApplyOptions) => run(apply(options, terminal, stop)));

  confirmable(
    manifests(
      root
        .command('destroy')
        .description(
          'delete what was made or adopted from under the paths; without -f all that is recorded, which needs --state',
        ),
      false,
    ),
  )
    .addHelpText('after', examples('destroy -f access', 'destroy --state access/.nomad-access.state.json --yes'))
    .action((options: ApplyOptions) => run(destroy(options, terminal, stop)));

  manifests(
    root
      .command('status')
      .description('show each resource, its live state and drift; without -f what is recorded, which needs --state'),
    false,
  )
    .addOption(output('text', 'json'))
    .addHelpText('after', examples('status -f access', 'status --state access/.nomad-access.state.json -o json'))
    .action((options: ManifestOptions & { output: Output }) => run(status(options, terminal, stop)));

  connections(root.command('import').description('write manifests of what is on the servers already, secrets excluded'))
    .addOption(ownerOption())
    .requiredOption('--out <folder>', 'folder that gets the manifests; must not exist, or be empty')
    .addOption(output('text', 'json'))
    .option('--kind <kind>', 'only this kind, such as AclPolicy; can be given again', collect)
    .option(
      '--name <pattern>',
      'only what is called so on the server, * stands for any text; can be given again',
      collect,
    )
    .option('--namespace <namespace>', 'metadata.namespace of the manifests', 'default')
    .addHelpText('after', examples('import --out access', "import --out team --kind AclPolicy --name 'team-*'"))
    .action((options: ImportOptions) => run(importLive(options, terminal, stop)));

  root
    .command('bootstrap')
    .description("bootstrap Nomad's ACLs, once, with a token that is first put in its place")
    .addOption(manifestsOption().makeOptionMandatory())
    .addOption(allowAddressOption())
    .argument('[cluster]', 'metadata.name of a NomadCluster (default: all that have spec.bootstrap)')
    .addOption(output('text', 'json'))
    .addHelpText('after', examples('bootstrap -f access', 'bootstrap -f access europe -o json'))
    .action((cluster: string | undefined, options: BootstrapOptions) =>
      run(bootstrap(options, cluster, terminal, stop)),
    );

  root
    .command('init-auth')
    .description('print the manifests by which the operator logs in to Nomad without a token of its own')
    .addOption(
      new Option('--for <platform>', 'where the operator runs: who signs for it')
        .choices([...PLATFORMS])
        .makeOptionMandatory(),
    )
    .option('--method <name>', 'name of the auth method', 'nomad-access')
    .option('--audience <audience>', 'audience of the token', 'nomad')
    .option('--jwks-url <url>', "JWKS of the signer, as Nomad's servers reach it (nomad: that of $NOMAD_ADDR)")
    .option('--public-key <file>', 'PEM of a key of the signer, in place of a JWKS; can be given again', collect)
    .option('--issuer <issuer>', 'issuer that the token must name (default: any)')
    .option(
      '--service-account <account>',
      'kubernetes: NAMESPACE/NAME of the ServiceAccount (default: "nomad-access/nomad-access")',
    )
    .option('--job <job>', 'nomad: NAMESPACE/NAME of the job (default: "default/nomad-access")')
    .option('--max-token-ttl <duration>', 'how long a login lasts; another one follows', goDuration, '1h')
    .option('--nomad-ref <name>', 'NomadCluster of the manifests', 'default')
    .addOption(output('text', 'json'))
    .addHelpText(
      'after',
      examples(
        'init-auth --for nomad > login.yaml',
        'init-auth --for kubernetes --jwks-url https://api.example.com/openid/v1/jwks',
      ),
    )
    .action((options: InitAuthOptions) => {
      finish(initAuth(options, terminal));
    });

  connections(root.command('doctor').description('look for what is wrong on Nomad and Vault, and say what to do'))
    .addOption(output('text', 'json'))
    .option('--make-token', 'also have every Nomad secrets engine make a token by each role, and revoke it', false)
    .addHelpText('after', examples('doctor', 'doctor -f access', 'doctor -f access --make-token -o json'))
    .action((options: DoctorOptions) => run(doctor(options, terminal, stop)));

  root
    .command('agent-config')
    .description("print the vault blocks of Nomad's agents for an integration")
    .addOption(manifestsOption().makeOptionMandatory())
    .argument('[name]', 'metadata.name of a VaultJwtIntegration')
    .addOption(output('text', 'json'))
    .addHelpText('after', examples('agent-config -f access workloads'))
    .action((name: string | undefined, options: AgentConfigOptions) => run(agentConfig(options, name, terminal, stop)));

  manifests(root.command('run').description('follow manifests and servers, and keep them equal until stopped'), false)
    .addOption(
      new Option('--source <source>', 'where the manifests are')
        .choices(['directory', 'kubernetes'])
        .default('directory'),
    )
    .option(
      '--namespace <namespace>',
      'kubernetes: only resources of this namespace; can be given again (default: of all)',
      collect,
    )
    .option('--kubeconfig <path>', 'kubernetes: kubeconfig (default: the pod’s own, $KUBECONFIG, ~/.kube/config)')
    .option('--context <name>', 'kubernetes: context of the kubeconfig (default: its current one)')
    .option(
      '--lease-namespace <namespace>',
      'kubernetes: where the Lease and the inventory are (default: the pod’s, the context’s, default)',
    )
    .option('--listen <address>', 'HOST:PORT of /healthz, /readyz and /metrics', DEFAULT_LISTEN)
    .option('--allow-mass-delete', 'delete more than half of what is recorded, if that is declared no more', false)
    .addOption(
      new Option('--log-format <format>', 'format of the log on stderr').choices([...LOG_FORMATS]).default('json'),
    )
    .addOption(new Option('--log-level <level>', 'what is logged').choices([...LOG_LEVELS]).default('info'))
    .addHelpText(
      'after',
      examples(
        'run -f access --log-format text',
        'run -f access --state nomad:nomad-access/default --listen :8080',
        'run --source kubernetes --log-format text',
      ),
    )
    .action((options: RunOptions) => run(follow(options, stop)));

  root
    .command('crds')
    .description('print the CustomResourceDefinitions')
    .addOption(output('text', 'json'))
    .addHelpText('after', examples('crds > crds.yaml'))
    .action((options: { output: Output }) => {
      terminal.out(options.output === 'json' ? JSON.stringify({ crds: crdYaml(kinds) }) : crdYaml(kinds).trimEnd());
      finish(0);
    });

  root
    .command('sandbox')
    .description("serve Nomad's ACL API and Vault's API in process, to try things out")
    .addOption(output('text', 'json'))
    .option('--nomad-port <port>', 'port of Nomad; 0 for a free one', port, 0)
    .option('--vault-port <port>', 'port of Vault; 0 for a free one', port, 0)
    .option('--no-seed', 'begin empty')
    .addHelpText('after', examples('sandbox', 'sandbox --nomad-port 4646 --vault-port 8200'))
    .action((options: SandboxCommandOptions) => run(sandbox(options, terminal, stop)));

  root
    .command('version')
    .description('print the version')
    .addOption(output('text', 'json'))
    .action((options: { output: Output }) => {
      const version = { version: VERSION, node: process.version };
      terminal.out(
        options.output === 'json' ? JSON.stringify(version) : `nomad-access ${VERSION} (Node.js ${process.version})`,
      );
      finish(0);
    });
  return root;
}

function manifests(command: Command, needsFiles: boolean): Command {
  const file = manifestsOption();
  return command
    .addOption(needsFiles ? file.makeOptionMandatory() : file)
    .addOption(ownerOption())
    .addOption(allowAddressOption())
    .option(
      '--state <path>',
      'inventory: a file (default: .nomad-access.state.json beside the manifests), or nomad:PATH for Nomad Variables',
    )
    .option(
      '--accept-address-change <connection>',
      'metadata.name of a connection whose new address leads to the same servers; can be given again',
      collect,
    );
}

/** For what only looks at servers. */
function connections(command: Command): Command {
  return command
    .addOption(fileOption('manifests that declare connections (default: those of the environment); can be given again'))
    .addOption(allowAddressOption());
}

function manifestsOption(): Option {
  return fileOption('manifests: a file, a folder (with what is below it), or - for standard input; can be given again');
}

function fileOption(description: string): Option {
  return new Option('-f, --file <path>', description).argParser(collect);
}

function ownerOption(): Option {
  const description = 'name of this installation; separate ones on one Nomad take separate names';
  return new Option('--owner <name>', description).default(DEFAULT_OWNER);
}

function allowAddressOption(): Option {
  const description = 'address of a declared connection that credentials may be sent to; can be given again';
  return new Option('--allow-address <address>', description).argParser(collect);
}

/** One value for each time that an option is given: what follows it stays an argument. */
function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  // What an unset variable of a shell leaves: as a path it would be the working directory.
  if (value === '') throw new InvalidArgumentError('It must not be empty.');
  return [...(previous ?? []), value];
}

function examples(...lines: string[]): string {
  return ['', lines.length === 1 ? 'Example:' : 'Examples:', ...lines.map((line) => `  nomad-access ${line}`)].join(
    '\n',
  );
}

function confirmable(command: Command): Command {
  return command
    .addOption(output('text', 'json'))
    .option('-y, --yes', 'go on without asking for a confirmation', false);
}

function output(...choices: Output[]): Option {
  return new Option('-o, --output <format>', 'format of the output').choices(choices).default(choices[0]);
}

function goDuration(value: string): string {
  if (duration.safeParse(value).success) return value;
  throw new InvalidArgumentError('It must be a duration such as 30m or 1h30m.');
}

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65535)
    throw new InvalidArgumentError('It must be a port number.');
  return value;
}
