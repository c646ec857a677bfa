// node exported-types.mjs MODULES TYPES NAME=FILE...: print what each file of declarations exports, a line for each member.
import {createRequire} from "node:module";
import {join} from "node:path";

const [modules, types, ...named] = process.argv.slice(2);
const ts = createRequire(join(modules, "index.js"))("typescript");
const entries = named.map((entry) => entry.split("="));
const files = entries.map(([, file]) => join(types, file));
const program = ts.createProgram(files, {moduleResolution: ts.ModuleResolutionKind.Bundler, module: ts.ModuleKind.ESNext, types: []});
const checker = program.getTypeChecker();
const printer = ts.createPrinter({removeComments: true});

const text = (node) =>
  printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile()).replace(/\s+/g, " ").replace(/[;,]$/, "");
const isHidden = (member) =>
  (member.name && ts.isPrivateIdentifier(member.name)) ||
  (ts.getCombinedModifierFlags(member) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) !== 0;

function* linesOf(name, declaration) {
  const members = declaration.members ?? (declaration.type && ts.isTypeLiteralNode(declaration.type) && declaration.type.members);
  if (!members) yield `${name}: ${text(declaration)}`;
  else for (const member of members) if (!isHidden(member)) yield `${name}: ${text(member)}`;
}

for (const [index, [entry]] of entries.entries()) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(files[index]));
  for (const exported of module ? checker.getExportsOfModule(module) : []) {
    const target = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    const own = (target.declarations ?? []).filter((declaration) => declaration.getSourceFile().fileName.startsWith(types));
    const lines = own.flatMap((declaration) => [...linesOf(`${entry} ${exported.name}`, declaration)]);
    console.log(lines.join("\n") || `${entry} ${exported.name}`);
  }
}
