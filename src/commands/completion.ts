import { Argument } from '@commander-js/extra-typings'
import type { CommandUnknownOpts } from '@commander-js/extra-typings'
import { defineCommand } from './command.ts'
import type { Command } from './command.ts'

/** A command as a shell completes it. */
interface Completion {
  name: string
  summary: string
  options: ReadonlyArray<{ flag: string, description: string, takesValue: boolean }>
  /** Values of its first argument. */
  choices: readonly string[]
}

const SHELLS = { bash: toBash, zsh: toZsh, fish: toFish }

/** Prints the script of a shell. `run-command.ts` loads all commands for it, so that it knows their options. */
export const command: Command = {
  register (parser, context, onEnd) {
    const { register } = defineCommand({
      description: ['Prints a script that makes a shell complete the commands and options of seed.'],
      examples: [
        ['source <(seed completion bash)', 'In ~/.bashrc'],
        ['source <(seed completion zsh)', 'In ~/.zshrc, after compinit'],
        ['seed completion fish > ~/.config/fish/completions/seed.fish', 'Once']
      ],
      declare: (parser) => parser
        .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish'] as const)),
      async run (_options, { print }, shell) {
        print(SHELLS[shell](parser.parent!.commands.map(describe)))
        return 0
      }
    })
    register(parser, context, onEnd)
  }
}

function describe (command: CommandUnknownOpts): Completion {
  return {
    name: command.name(),
    summary: command.summary(),
    options: [
      ...command.options.map(({ long, description, required }) =>
        ({ flag: long!, description, takesValue: required })),
      { flag: '--help', description: 'print this help', takesValue: false }
    ],
    choices: command.registeredArguments[0]?.argChoices ?? []
  }
}

function toBash (commands: readonly Completion[]): string {
  const cases = commands.map(({ name, options, choices }) =>
    `    ${name}) candidates="${[...choices, ...options.map(({ flag }) => flag)].join(' ')}" ;;`)
  return `_seed () {
  local candidates
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  if ((COMP_CWORD == 1)); then candidates="${commands.map(({ name }) => name).join(' ')} --help --version"; fi
  COMPREPLY=($(compgen -W "$candidates" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _seed seed`
}

function toZsh (commands: readonly Completion[]): string {
  const item = (name: string, description: string): string => quote(`${name}:${description.replaceAll(':', '\\:')}`)
  const cases = commands.map(({ name, options, choices }) => {
    const items = [
      ...choices.map((choice) => quote(choice)), ...options.map(({ flag, description }) => item(flag, description))
    ]
    return `    ${name}) candidates=(${items.join(' ')}) ;;`
  })
  return `#compdef seed
_seed () {
  local -a candidates
  case $words[2] in
${cases.join('\n')}
  esac
  if ((CURRENT == 2)); then candidates=(${commands.map(({ name, summary }) => item(name, summary)).join(' ')}); fi
  _describe seed candidates || _files
}
compdef _seed seed`
}

function toFish (commands: readonly Completion[]): string {
  return commands.flatMap(({ name, summary, options, choices }) => {
    const seen = `complete -c seed -n '__fish_seen_subcommand_from ${name}'`
    return [
      `complete -c seed -f -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`,
      ...(choices.length === 0 ? [] : [`${seen} -f -a '${choices.join(' ')}'`]),
      ...options.map(({ flag, description, takesValue }) =>
        `${seen} -l ${flag.slice(2)} -d ${quote(description)}${takesValue ? ' -r' : ''}`)
    ]
  }).join('\n')
}

/** Quotes for a shell, all of which read single quotes and an escaped quote between them alike. */
function quote (text: string): string {
  return `'${text.replaceAll('\'', '\'\\\'\'')}'`
}
