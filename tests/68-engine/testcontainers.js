// What test_testcontainers.py runs: node testcontainers.js CASE FOLDER. The daemon is $DOCKER_HOST's and has the image box:1.
// FOLDER is empty, and the case's own.
const { GenericContainer, Network, Wait, PullPolicy, DockerComposeEnvironment, getContainerRuntimeClient } = require("testcontainers");
const assert = require("assert"), fs = require("fs"), path = require("path");
const { pipeline } = require("stream/promises");
const tar = require("tar-stream");

const [, , which, folder] = process.argv;
const limit = 40000 * Number(process.env.KNARR_SLOWER || 1);
const sh = (...words) => ["sh", "-c", ...words];
const box = (...words) => new GenericContainer("box:1").withCommand(sh(...words)).withStartupTimeout(limit);
const SERVE = "mkdir -p /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www";
const text = async stream => {
	let t = "";
	for await (const x of stream)
		t += x;
	return t;
};
const fetched = async (c, port = 80) => (await fetch(`http://${c.getHost()}:${c.getMappedPort(port)}/`)).text();
const said = async (c, ...command) => {
	const r = await c.exec(command);
	assert.equal(r.exitCode, 0, r.output);
	return r.output.trim();
};
const unpacked = async stream => {
	const got = {}, x = tar.extract();
	x.on("entry", (header, data, next) => text(data).then(t => { got[header.name] = t; next(); }));
	await pipeline(stream, x);
	return got;
};
const put = (name, data) => {
	fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
	fs.writeFileSync(path.join(folder, name), data);
	return path.join(folder, name);
};
const engine = async () => (await getContainerRuntimeClient()).container.dockerode;

const cases = {
	async logs() {
		const c = await box("echo one; sleep 0.5; echo ready 7 >&2; sleep 1000").withWaitStrategy(Wait.forLogMessage(/ready \d/)).start();
		// A restart waits for what is said after it: the old lines would be enough at once.
		const began = Date.now();
		await c.restart();
		assert(Date.now() - began >= 500);
		await c.stop();
		let heard = "";
		const twice = await box("echo tick; sleep 0.3; echo tick; exec sleep 1000").withWaitStrategy(Wait.forLogMessage("tick", 2))
			.withLogConsumer(s => s.on("data", x => heard += x)).start();
		while ((heard.match(/tick/g) || []).length < 2)
			await new Promise(ok => setTimeout(ok, 20));
		await twice.stop();
		await assert.rejects(box("echo other; exec sleep 1000").withWaitStrategy(Wait.forLogMessage("never")).withStartupTimeout(700).start(),
			/Log message "never" not received after 700ms/);
		await assert.rejects(box("echo other").withWaitStrategy(Wait.forLogMessage("never")).start(),
			/Log stream ended and message "never" was not received/);
	},

	async ports() {
		const c = await box("sleep 0.5;" + SERVE).withExposedPorts(80, 81).withWaitStrategy(Wait.forHttp("/", 80)).start();
		assert.equal(await fetched(c), "page\n");
		assert.notEqual(c.getMappedPort(80), c.getMappedPort(81));
		assert.throws(() => c.getMappedPort(82), /No port binding found/);
		const before = c.getMappedPort(80);
		await c.restart();
		assert.equal(await fetched(c), "page\n");
		assert(before > 0);
		await c.stop();
		const listens = await box("sleep 0.5;" + SERVE).withExposedPorts(80).start();
		assert.equal(await fetched(listens), "page\n");
		const taken = listens.getMappedPort(80);
		await assert.rejects(box(SERVE).withExposedPorts({ container: 80, host: taken }).start(), /port is already allocated/);
		await listens.stop();
		const fixed = await box(SERVE).withExposedPorts({ container: 80, host: taken }).start();
		assert.equal(fixed.getMappedPort(80), taken);
		assert.equal(await fetched(fixed), "page\n");
		await fixed.stop();
		await assert.rejects(box("echo bye; sleep 1; exit 3").withExposedPorts(80)
			.withWaitStrategy(Wait.forHttp("/", 80, { abortOnContainerExit: true })).start(),
			/Container exited during HTTP healthCheck, last 50 logs: bye/);
		await assert.rejects(box("exec sleep 1000").withExposedPorts(80).withStartupTimeout(900).start(), /Port \d+ not bound after 900ms/);
	},

	async health() {
		const c = await box("sleep 0.5; touch /ready; exec sleep 1000").withWaitStrategy(Wait.forHealthCheck())
			.withHealthCheck({ test: ["CMD-SHELL", "test -f /ready"], interval: 200, timeout: 5000, retries: 100, startPeriod: 0 }).start();
		await said(c, "test", "-f", "/ready");
		await c.stop();
		await assert.rejects(box("exec sleep 1000").withWaitStrategy(Wait.forHealthCheck())
			.withHealthCheck({ test: ["CMD", "false"], interval: 100, timeout: 5000, retries: 2, startPeriod: 0 }).start(),
			/Health check failed: unhealthy/);
		const all = await box("sleep 0.3; touch /ready; echo up;" + SERVE).withExposedPorts(80).withWaitStrategy(
			Wait.forAll([Wait.forLogMessage("up"), Wait.forListeningPorts(), Wait.forSuccessfulCommand("test -f /ready")])).start();
		await all.stop();
		const once = await box("echo did; exit 0").withWaitStrategy(Wait.forOneShotStartup()).start();
		assert.equal(await text(await once.logs()), "did\n");
		await once.stop();
		await assert.rejects(box("exit 3").withWaitStrategy(Wait.forOneShotStartup()).start(), /Container failed to start for/);
	},

	async copies() {
		const one = put("one", "1"), dir = path.dirname(put("d/e/two", "2"));
		const c = await box("cat /in/one /in/content; exec sleep 1000").withWaitStrategy(Wait.forLogMessage("1said"))
			.withCopyFilesToContainer([{ source: one, target: "/in/one", mode: 0o640 }])
			.withCopyDirectoriesToContainer([{ source: dir, target: "/in/d" }])
			.withCopyContentToContainer([{ content: "said\n", target: "/in/content" }]).start();
		assert.equal(await said(c, "stat", "-c", "%a %u", "/in/one"), "640 0");
		assert.equal(await said(c, "cat", "/in/d/two"), "2");
		await c.copyFilesToContainer([{ source: one, target: "/late/one" }]);
		await c.copyDirectoriesToContainer([{ source: dir, target: "/late/d" }]);
		await c.copyContentToContainer([{ content: Buffer.alloc(3000000, 65), target: "/late/much" }]);
		const pack = tar.pack();
		pack.entry({ name: "packed" }, "p");
		pack.finalize();
		await c.copyArchiveToContainer(pack, "/late");
		assert.equal(await said(c, "sh", "-c", "cd /late; cat one d/two packed; wc -c <much"), "12p3000000");
		const again = tar.pack();
		again.entry({ name: "x" }, "p");
		again.finalize();
		await assert.rejects(c.copyArchiveToContainer(again, "/nosuch"), /Could not find the file \/nosuch in container/);
		assert.deepEqual(Object.keys(await unpacked(await c.copyArchiveFromContainer("/in"))).sort(),
			["in/", "in/content", "in/d/", "in/d/two", "in/one"]);
		await assert.rejects(c.copyArchiveFromContainer("/nosuch"), /Could not find the file \/nosuch in container/);
		const stopped = await c.stop({ remove: false });
		assert.deepEqual(await unpacked(await stopped.copyArchiveFromContainer("/late/packed")), { packed: "p" });
		await (await engine()).getContainer(c.getId()).remove();
	},

	async options() {
		const kept = put("bound/x", "there");
		let c = await box("sleep 1000").withName("tcnamed").withEnvironment({ A: "b c" }).withWorkingDir("/tmp").withUser("1000")
			.withHostname("here").withLabels({ l: "v" })
			.withTmpFs({ "/scratch": "rw,size=1m" }).withUlimits({ core: { soft: 1024, hard: 2048 } }).withAddedCapabilities("NET_ADMIN")
			.withDroppedCapabilities("CHOWN").withExtraHosts([{ host: "far", ipAddress: "192.0.2.7" }])
			.withBindMounts([{ source: path.dirname(kept), target: "/b", mode: "ro" }])
			.withResourcesQuota({ memory: 0.25, cpu: 0.5 }).withSharedMemorySize(1 << 20).withIpcMode("private")
			.withDefaultLogDriver().withPlatform("linux/amd64")
			.withWaitStrategy(Wait.forSuccessfulCommand("true")).start();
		assert.equal(c.getName(), "/tcnamed");
		assert.equal(c.getHostname(), "here");
		assert.equal(c.getLabels().l, "v");
		assert.equal(await said(c, "sh", "-c",
			"echo $A; pwd; id -u; hostname; ulimit -Sc; ulimit -Hc; cat /b/x; grep far /etc/hosts; df -k /dev/shm | awk 'END {print $2}'"),
			"b c\n/tmp\n1000\nhere\n2\n4\nthere192.0.2.7\tfar\n1024");
		const h = (await (await engine()).getContainer(c.getId()).inspect()).HostConfig;
		assert.deepEqual([h.Memory, h.NanoCpus || h.CpuQuota * 10000, h.ShmSize, h.IpcMode, h.Binds, h.Tmpfs], [1 << 28, 500000000, 1 << 20, "private",
			[`${path.dirname(kept)}:/b:ro`], { "/scratch": "rw,size=1m" }]);
		assert.match((await c.exec(["sh", "-c", "echo x >/b/y"])).stderr, /Read-only file system/);
		const r = await c.exec(["sh", "-c", "echo out; echo err >&2; echo $Q; pwd; id -u; exit 6"], { workingDir: "/", user: "0", env: { Q: "z" } });
		assert.deepEqual([r.exitCode, r.stdout, r.stderr], [6, "out\nz\n/\n0\n", "err\n"]);
		assert([126, 127].includes((await c.exec(["nosuch"])).exitCode)); // dockerd before 23 had one for all
		await assert.rejects(box("true").withName("tcnamed").start(), /The container name "\/tcnamed" is already in use by container/);
		await c.stop();
		c = await new GenericContainer("box:1").withEntrypoint(["/bin/busybox", "sleep"]).withCommand(["1000"]).start();
		assert.equal(await said(c, "cat", "/proc/1/cmdline"), "/bin/busybox\0sleep\x001000\0".trim());
		await c.stop();
		if (process.env.ALL_RIGHTS) {
			c = await box("exec sleep 1000").withPrivilegedMode().start();
			await said(c, "sh", "-c", "mkdir /m && mount -t tmpfs t /m");
			await c.stop();
		}
	},

	async networks() {
		const n = await new Network().start(), other = await new Network().start();
		const server = await box(SERVE).withNetwork(n).withNetworkAliases("web", "also").withExposedPorts(80).start();
		assert.equal(await fetched(server), "page\n");
		assert(server.getNetworkNames().includes(n.getName()));
		assert.match(server.getIpAddress(n.getName()), /^\d+\.\d+\.\d+\.\d+$/);
		assert.equal(server.getNetworkId(n.getName()), n.getId());
		const client = await box("exec sleep 1000").withName("tcclient").withNetwork(n).start();
		const stranger = await box("exec sleep 1000").withNetwork(other).start();
		for (const name of ["web", "also", server.getIpAddress(n.getName())])
			assert.equal(await said(client, "wget", "-qO-", `http://${name}/`), "page");
		await said(server, "ping", "-c", "1", "-w", "20", "tcclient");
		assert.equal((await stranger.exec(["nslookup", "web"])).exitCode, 1);
		const shares = await box("exec sleep 1000").withNetworkMode(`container:${server.getId()}`).start();
		assert.equal(await said(shares, "wget", "-qO-", "http://127.0.0.1/"), "page");
		await shares.stop();
		await assert.rejects(n.stop(), /has active endpoints/);
		for (const c of [server, client, stranger])
			await c.stop();
		for (const x of [n, other])
			await x.stop();
		await assert.rejects(box("true").withNetworkMode(n.getName()).start(), /network tc-[0-9a-f-]+ not found|network [0-9a-f-]+ not found/);
	},

	async builds() {
		put("b/Dockerfile", "ARG BASE\nFROM ${BASE} AS first\nARG WHO=nobody\nCOPY . /src/\nRUN echo hello $WHO >/said\n" +
			"CMD [\"sh\",\"-c\",\"cat /said; sleep 1000\"]\n" +
			"FROM first AS second\nRUN echo second >>/said\n");
		put("b/.dockerignore", "*.skip\n");
		put("b/a.skip", ""), put("b/kept", "k");
		const made = await GenericContainer.fromDockerfile(path.join(folder, "b")).withBuildArgs({ BASE: "box:1", WHO: "you" })
			.build("tcmade:1", { deleteOnExit: false });
		const c = await made.withStartupTimeout(limit)
			.withWaitStrategy(Wait.forLogMessage("second")).start();
		assert.equal(await said(c, "cat", "/said"), "hello you\nsecond");
		assert.equal(await said(c, "ls", "/src"), "Dockerfile\nkept");
		await c.stop();
		const first = await GenericContainer.fromDockerfile(path.join(folder, "b")).withBuildArgs({ BASE: "box:1" }).withTarget("first")
			.withCache(false).build();
		const d = await first.withStartupTimeout(limit).withWaitStrategy(Wait.forLogMessage("hello nobody")).start();
		await d.stop();
		const images = await (await engine()).listImages({ filters: { reference: ["tcmade"] } });
		assert.deepEqual(images.map(x => x.RepoTags), [["tcmade:1"]]);
		put("b/Bad", "FROM box:1\nRUN echo why; exit 9\n");
		await assert.rejects(GenericContainer.fromDockerfile(path.join(folder, "b"), "Bad").build(),
			/Failed to build|returned a non-zero code: 9/);
		await (await engine()).getImage("tcmade:1").remove({ force: true });
	},

	async commits() {
		const c = await box("echo first >/f; exec sleep 1000").withWaitStrategy(Wait.forSuccessfulCommand("test -f /f")).start();
		const id = await c.commit({ repo: "tccommit", tag: "1", author: "me", comment: "why",
			changes: ["ENV Q=two", 'CMD ["sh", "-c", "cat /f; echo $Q; exec sleep 1000"]'],
			deleteOnExit: false });
		await c.stop();
		const i = await (await engine()).getImage("tccommit:1").inspect();
		assert.deepEqual([i.Id, i.Author, i.Comment], [id, "me", "why"]);
		const again = await new GenericContainer("tccommit:1").withStartupTimeout(limit).withWaitStrategy(Wait.forLogMessage("two")).start();
		await again.stop();
		await (await engine()).getImage("tccommit:1").remove({ force: true });
	},

	async reuse() {
		const make = () => box("exec sleep 1000").withLabels({ of: "reuse" }).withReuse();
		const a = await make().start(), b = await make().start();
		assert.equal(a.getId(), b.getId());
		await a.stop({ remove: false });
		const c = await make().start();
		assert.equal(c.getId(), a.getId());
		assert.equal((await (await engine()).getContainer(a.getId()).inspect()).State.Running, true);
		await c.stop();
		await assert.rejects((await engine()).getContainer(a.getId()).inspect(), e => e.statusCode === 404);
	},

	async absent() {
		await assert.rejects(new GenericContainer("127.0.0.1:1/nosuch:1").start(), /127\.0\.0\.1:1/);
		await assert.rejects(box("true").withPullPolicy(PullPolicy.alwaysPull()).start());
		await assert.rejects(new GenericContainer("box:1").withCommand(["nosuch"]).start(), /exec: "nosuch": executable file not found in \$PATH/);
		await assert.rejects(box("true").withUser("nobody-here").start(), /unable to find user nobody-here: no matching entries in passwd file/);
		await assert.rejects(box("true").withBindMounts([{ source: "/nosuch/at/all", target: "rel" }]).start(), /mount path must be absolute/);
		await assert.rejects(box("true").withAddedCapabilities("bogus").start(), /invalid CapAdd: unknown capability: "CAP_BOGUS"/);
		const left = await (await engine()).listContainers({ all: true, filters: { status: ["running"] } });
		assert.deepEqual(left, []);
	},

	async compose() {
		put("c.yml", `
version: "3.9"
services:
  web:
    image: box:1
    command: ["sh", "-c", "${SERVE}"]
    stop_grace_period: 0s
    ports: ["80"]
    healthcheck: {test: ["CMD", "wget", "-qO-", "http://127.0.0.1/"], interval: 300ms, timeout: 5s, retries: 50}
  job:
    image: box:1
    stop_grace_period: 0s
    command: ["sh", "-c", "echo said $WORD; exec sleep 1000"]
`);
		const e = await new DockerComposeEnvironment(folder, "c.yml").withProjectName("tcc").withEnvironment({ WORD: "it" })
			.withWaitStrategy("web_1", Wait.forHealthCheck()).withWaitStrategy("job_1", Wait.forLogMessage("said it"))
			.withStartupTimeout(limit).up();
		assert.equal(await fetched(e.getContainer("web_1")), "page\n");
		assert.equal(await said(e.getContainer("job_1"), "wget", "-qO-", "http://web/"), "page");
		await e.down();
		assert.deepEqual(await (await engine()).listContainers({ all: true, filters: { label: ["com.docker.compose.project=tcc"] } }), []);
	},
};
cases[which]().then(() => console.log("done"), e => { console.error(e); process.exit(1); });
