/**
 * The API for extensions: `import { defineTool, Type } from 'seed-mcp-server'`. Importing it starts no server. In an
 * extension that a server loads, it is that server's own copy.
 */
export { Type } from 'typebox'
export type { Static } from 'typebox'
export { assistant, audio, embeddedResource, image, resourceLink, text, toolResult, user } from './define/content.ts'
export type { ResourceLink, ToolResult, ToolResultParts } from './define/content.ts'
export type { Completions } from './define/completion.ts'
export type {
  ClientInfo, ElicitAction, ElicitedForm, QuestionOptions, RequestContext, RequestLog
} from './define/context.ts'
export type { Definition } from './define/definition.ts'
export type { ClaimValue, Policy } from './define/policy.ts'
export { defineMount } from './mounts/settings/define-mount.ts'
export type { MountDeclaration, MountDefinition } from './mounts/settings/define-mount.ts'
export { definePrompt } from './define/prompt.ts'
export type { PromptDeclaration, PromptDefinition, PromptOutput } from './define/prompt.ts'
export { defineResource, defineResourceTemplate } from './define/resource.ts'
export type {
  ListedResource, ResourceContent, ResourceDeclaration, ResourceDefinition, ResourceOutput,
  ResourceTemplateDeclaration, ResourceTemplateDefinition
} from './define/resource.ts'
export { ToolError, defineTool } from './define/tool.ts'
export type { ToolDeclaration, ToolDefinition, ToolOutput, ToolProgress } from './define/tool.ts'
export type { Principal, PrincipalGrantType, PrincipalKind } from './tokens/principal.ts'
