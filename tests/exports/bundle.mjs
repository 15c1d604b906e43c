// Bundles the engine of DevTools' Memory panel for node: `node bundle.mjs` in the
// directory where `npm ci` has put it. The package is TypeScript that a browser build
// completes; of what that generates only the list of languages is asked for.
import {build} from 'esbuild';

const languages = `
  export const LOCALES = ['en-US'];
  export const BUNDLED_LOCALES = LOCALES;
  export const DEFAULT_LOCALE = 'en-US';
  export const REMOTE_FETCH_PATTERN = '';
  export const LOCAL_FETCH_PATTERN = '';
`;

const generated = {
  name: 'generated',
  setup(bundler) {
    bundler.onResolve({filter: /\/locales\.js$/}, ({path}) => ({path, namespace: 'generated'}));
    bundler.onLoad({filter: /.*/, namespace: 'generated'}, () => ({contents: languages}));
  },
};

await build({
  entryPoints: ['engine.ts'],
  outfile: 'engine.mjs',
  bundle: true,
  format: 'esm',
  platform: 'node',
  logLevel: 'error',
  plugins: [generated],
});
