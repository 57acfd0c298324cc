/** A Markdown table; the first column is text, the others are figures. */
export function markdownTable (head: readonly string[], rows: readonly string[][]): string[] {
  const lines = [head, ...rows]
  const widths = head.map((_cell, column) => Math.max(3, ...lines.map((line) => line[column]!.length)))
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
  const rule = widths.map((width, column) => column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)
  const [first, ...others] = lines.map((line) => `| ${line.map(pad).join(' | ')} |`)
  return [first!, `|${rule.join('|')}|`, ...others]
}

export function times (factor: number): string {
  return `${factor.toFixed(factor < 10 ? 1 : 0)} times`
}
