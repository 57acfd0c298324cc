import {
  Type,
  definePrompt,
  defineResource,
  defineResourceTemplate,
  embeddedResource,
  image,
  user
} from '../../src/index.ts'
import type { Definition } from '../../src/index.ts'
import { PIXEL } from './media.ts'

/** The prompts and resources that the conformance suite asks of a server. */
export const promptsAndResources: readonly Definition[] = [
  definePrompt({
    name: 'test_simple_prompt',
    description: 'A prompt without arguments',
    handler: () => 'This is a simple prompt for testing.'
  }),
  definePrompt({
    name: 'test_prompt_with_arguments',
    description: 'A prompt with two arguments',
    arguments: Type.Object({
      arg1: Type.String({ description: 'The first' }),
      arg2: Type.String({ description: 'The second' })
    }),
    complete: { arg1: (typed) => ['paris', 'park', 'party'].filter((word) => word.startsWith(typed)) },
    handler: ({ arg1, arg2 }) => `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`
  }),
  definePrompt({
    name: 'test_prompt_with_embedded_resource',
    description: 'A prompt with a resource in it',
    arguments: Type.Object({ resourceUri: Type.String() }),
    handler: ({ resourceUri }) => [
      user(embeddedResource(resourceUri, 'Embedded resource content for testing.', 'text/plain')),
      user('Please process the embedded resource above.')
    ]
  }),
  definePrompt({
    name: 'test_prompt_with_image',
    description: 'A prompt with a picture in it',
    handler: () => [user(image(PIXEL, 'image/png')), user('Please analyze the image above.')]
  }),
  defineResource({
    uri: 'test://static-text',
    name: 'Static text',
    mimeType: 'text/plain',
    read: () => 'This is the content of the static text resource.'
  }),
  defineResource({
    uri: 'test://static-binary',
    name: 'Static picture',
    mimeType: 'image/png',
    read: () => Buffer.from(PIXEL, 'base64')
  }),
  defineResource({
    uri: 'test://watched-resource',
    name: 'Watched',
    mimeType: 'text/plain',
    read: () => 'Watched resource content'
  }),
  defineResourceTemplate({
    uriTemplate: 'test://template/{id}/data',
    name: 'Data',
    mimeType: 'application/json',
    read: ({ id }) => ({ id, templateTest: true, data: `Data for ID: ${String(id)}` })
  })
]
