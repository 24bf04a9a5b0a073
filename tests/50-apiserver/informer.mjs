// An informer of @kubernetes/client-node on the config maps with label informer=yes: one line of JSON for each event.
// usage: node informer.mjs SERVER CA-FILE TOKEN      (run from the folder that has node_modules)
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
const say = (event, o) => console.log(JSON.stringify([event, o?.metadata?.name, o?.data?.n]));

const created = await core.createNamespacedConfigMap({
    namespace: 'default', body: { metadata: { name: 'node-made' }, data: { a: 'b' } } });
const read = await core.readNamespacedConfigMap({ name: 'node-made', namespace: 'default' });
console.log(JSON.stringify(['made', created.metadata.name, read.data.a]));
try {
    await core.readNamespacedConfigMap({ name: 'nope', namespace: 'default' });
} catch (e) {
    console.log(JSON.stringify(['refused', e.code, JSON.parse(e.body).reason]));
}

const selector = 'informer=yes';
const informer = k8s.makeInformer(config, '/api/v1/namespaces/default/configmaps',
    () => core.listNamespacedConfigMap({ namespace: 'default', labelSelector: selector }), selector);
for (const event of ['add', 'update', 'delete']) informer.on(event, (o) => say(event, o));
const again = () => setTimeout(() => informer.start().catch(again), 50);
informer.on('error', again);
informer.start().catch(again);
