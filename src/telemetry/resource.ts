import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import type { Resource } from '@opentelemetry/resources'

/** The description of this process in metrics and spans; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES add to it. */
export function createResource (version: string): Resource {
  return resourceFromAttributes({ 'service.name': 'seed', 'service.version': version })
    .merge(detectResources({ detectors: [envDetector] }))
}
