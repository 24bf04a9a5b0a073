// An informer of @kubernetes/client-node on the config maps with label run=yes: one line of JSON for each event, with its version.
// usage: node informers.mjs SERVER CA-FILE TOKEN      (run from the folder that has node_modules)
import { createRequire } from 'node:module';
const k8s = createRequire(process.cwd() + '/')('@kubernetes/client-node');

const [server, caFile, token] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromOptions({
    clusters: [{ name: 'c', server, caFile }],
    users: [{ name: 'u', token }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
});
const core = config.makeApiClient(k8s.CoreV1Api);
const selector = 'run=yes';
const list = async () => {
    const page = await core.listNamespacedConfigMap({ namespace: 'default', labelSelector: selector });
    console.log(JSON.stringify(['list', null, null, page.metadata.resourceVersion]));
    return page;
};
const informer = k8s.makeInformer(config, '/api/v1/namespaces/default/configmaps', list, selector);
for (const event of ['add', 'update', 'delete'])
    informer.on(event, (o) => console.log(JSON.stringify([event, o.metadata.name, o.data.n, o.metadata.resourceVersion])));
const again = () => setTimeout(() => informer.start().catch(again), 50);
informer.on('error', again);
informer.start().catch(again);
