import type { Bar } from './context.ts'

const WIDTH = 880
const ROW = 26
const LABEL_WIDTH = 360
const BAR_WIDTH = 430
const TOP = 58

const HEADING = 'tools/call: requests per second, relative to a bare Fastify route without sign-in'
const NOTE = 'One core, loopback; every server except the bare route verifies tokens; higher is better.'

/** Horizontal bars, readable on light and on dark, with the fonts of the reader's machine. */
export function drawPicture (bars: readonly Bar[], caption: string): string {
  const max = Math.max(1, ...bars.map(({ ratio }) => ratio))
  const height = TOP + bars.length * ROW + 34
  const rows = bars.map(({ label, ratio, kind }, index) => {
    const y = TOP + index * ROW
    const width = Math.max(2, ratio / max * BAR_WIDTH)
    return `  <g class="${kind}">
    <text x="${LABEL_WIDTH - 10}" y="${y + 15}" text-anchor="end">${escape(label)}</text>
    <rect x="${LABEL_WIDTH}" y="${y + 3}" width="${width.toFixed(1)}" height="${ROW - 9}" rx="2"/>
    <text x="${(LABEL_WIDTH + width + 8).toFixed(1)}" y="${y + 15}">${ratio.toFixed(2)}</text>
  </g>`
  })
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-labelledby="title caption">
  <title id="title">tools/call: requests per second, relative to a bare Fastify route</title>
  <style>
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .heading { font-size: 15px; font-weight: 600 }
    .caption { font-size: 12px; fill: #59636e }
    .seed rect { fill: #1a7f37 } .seed text { font-weight: 600 }
    .base rect { fill: #8c959f } .other rect { fill: #b9c0c8 }
    .background { fill: #ffffff }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .caption { fill: #9198a1 }
      .seed rect { fill: #3fb950 } .base rect { fill: #9198a1 } .other rect { fill: #5c6570 }
      .background { fill: #0d1117 }
    }
  </style>
  <rect class="background" width="${WIDTH}" height="${height}" rx="6"/>
  <text class="heading" x="20" y="28">${HEADING}</text>
  <text class="caption" x="20" y="47">${NOTE}</text>
${rows.join('\n')}
  <text class="caption" id="caption" x="20" y="${height - 14}">${escape(caption)}</text>
</svg>
`
}

function escape (text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
