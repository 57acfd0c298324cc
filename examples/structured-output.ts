import { Type, defineTool, resourceLink, text, toolResult } from 'seed-mcp-server'

/** Returns data that is validated against `output`, together with text for people and a link to a resource. */
export const invoiceTotal = defineTool({
  name: 'invoice_total',
  title: 'Total of an invoice',
  description: 'Adds up the lines of an invoice, with tax.',
  input: Type.Object({
    invoice: Type.String({ pattern: '^[A-Z0-9-]{1,20}$' }),
    lines: Type.Array(Type.Object({
      quantity: Type.Integer({ minimum: 1 }),
      cents: Type.Integer({ description: 'Price of one' })
    }), { minItems: 1 }),
    taxPercent: Type.Number({ minimum: 0, maximum: 100 })
  }, { additionalProperties: false }),
  output: Type.Object({ netCents: Type.Integer(), taxCents: Type.Integer(), totalCents: Type.Integer() }),
  annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
  handler ({ invoice, lines, taxPercent }) {
    const netCents = lines.reduce((sum, { quantity, cents }) => sum + quantity * cents, 0)
    const taxCents = Math.round(netCents * taxPercent / 100)
    const totalCents = netCents + taxCents
    return toolResult({
      structuredContent: { netCents, taxCents, totalCents },
      content: [
        text(`${invoice} comes to ${(totalCents / 100).toFixed(2)}, of which ${(taxCents / 100).toFixed(2)} is tax.`),
        resourceLink({ uri: `invoices://${invoice}`, name: invoice, title: `Invoice ${invoice}` })
      ]
    })
  }
})
