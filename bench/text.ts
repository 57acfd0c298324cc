/** A table of Markdown; the first column is text, the others are figures. */
export function markdownTable (head: readonly string[], rows: readonly string[][]): string[] {
  const lines = [head, ...rows]
  const widths = head.map((_cell, column) => Math.max(3, ...lines.map((line) => line[column]!.length)))
  const table = lines.map((line) => `| ${line.map((cell, column) => column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)).join(' | ')} |`)
  table.splice(1, 0, `|${widths.map((width, column) => column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`).join('|')}|`)
  return table
}

export function times (factor: number): string {
  return `${factor.toFixed(factor < 10 ? 1 : 0)} times`
}
