/** How many members an object has, without an array of their names: with all known ones named, whether there are others. */
export function countMembers (value: object): number {
  let members = 0
  for (const name in value) if (name in value) members++
  return members
}
