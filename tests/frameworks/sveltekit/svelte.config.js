export default { kit: { prerender: { entries: [] } } };
