import { Type } from 'typebox'
import { user } from '../define/content.ts'
import { definePrompt } from '../define/prompt.ts'

const LANGUAGES = ['Deutsch', 'English', 'Español', 'Français', 'Italiano', 'Nederlands', 'Português', '日本語']

/** Greets the caller: a prompt to try a client with, and to copy. */
export const greet = definePrompt({
  name: 'greet',
  title: 'Greet me',
  description: 'Asks the model to greet the caller, in a language of their choice.',
  arguments: Type.Object({
    language: Type.Optional(Type.String({ description: 'Language of the greeting; English by default' }))
  }),
  complete: {
    language: (typed) => LANGUAGES.filter((language) => language.toLowerCase().startsWith(typed.toLowerCase()))
  },
  handler: ({ language = 'English' }, { principal }) => [
    user(`Greet ${principal?.name ?? 'me'} in one friendly sentence, in this language: ${language}. ` +
      'Then offer to list what you can do with the tools of this server.')
  ]
})
