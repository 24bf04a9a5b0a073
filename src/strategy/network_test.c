/* Tests of Service, Endpoints, EndpointSlice, and networking.k8s.io. */
#include "strategy/strategy_test.h"

#define SVC "v1 Service"
#define SPEC(text) "{'spec':{'ports':[{'port':80}]," text "}}"
#define OLD_IP "'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1'],'ipFamilies':['IPv4']"

static const struct row service_rows[] = {
	{ SVC, "{'spec':{'ports':[{'port':80}]}}", NULL, NULL, NULL,
	  "{'spec':{'type':'ClusterIP','sessionAffinity':'None','internalTrafficPolicy':'Cluster','externalTrafficPolicy':null,"
	  "'ports':[{'port':80,'protocol':'TCP','targetPort':80}]}}", "" },
	{ SVC, "{'spec':{}}", "spec.ports: Required value" },
	{ SVC, "{'metadata':{'name':'1a'},'spec':{'ports':[{'port':80}]}}", "metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist "
	  "of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. "
	  "'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')" },
	{ SVC, "{'spec':{'ports':[{'port':0,'protocol':'X','targetPort':'a_b'}]}}",
	  "[spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[0].protocol: Unsupported value: \"X\": "
	  "supported values: \"SCTP\", \"TCP\", \"UDP\", spec.ports[0].targetPort: Invalid value: \"a_b\": must contain only alpha-numeric "
	  "characters (a-z, 0-9), and hyphens (-)]" },
	{ SVC, "{'spec':{'ports':[{'port':80},{'name':'a','port':81},{'name':'a','port':82}]}}",
	  "[spec.ports[0].name: Required value, spec.ports[2].name: Duplicate value: \"a\"]" },
	{ SVC, "{'spec':{'ports':[{'name':'a','port':80},{'name':'b','port':80}]}}",
	  "spec.ports[1]: Duplicate value: core.ServicePort{Name:\"\", Protocol:\"TCP\", AppProtocol:(*string)(nil), Port:80, "
	  "TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, NodePort:0}" },
	{ SVC, "{'spec':{'ports':[{'port':80,'nodePort':30000}]}}",
	  "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'" },
	{ SVC, "{'spec':{'type':'NodePort','ports':[{'name':'a','port':80,'nodePort':30000},{'name':'b','port':81,'nodePort':30000}]}}",
	  "spec.ports[1].nodePort: Duplicate value: 30000" },
	{ SVC, SPEC("'type':'Other'"), "spec.type: Unsupported value: \"Other\": supported values: \"ClusterIP\", \"ExternalName\", "
	  "\"LoadBalancer\", \"NodePort\"" },
	{ SVC, "{'spec':{'type':'ExternalName'}}", "spec.externalName: Required value" },
	{ SVC, "{'spec':{'type':'ExternalName','externalName':'a.example.','clusterIPs':['1.2.3.4'],'ipFamilies':['IPv4'],"
	  "'ipFamilyPolicy':'SingleStack'}}",
	  "[spec.clusterIPs: Forbidden: may not be set for ExternalName services, spec.ipFamilies: Forbidden: may not be set for "
	  "ExternalName services, spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services]" },
	{ SVC, SPEC("'sessionAffinity':'ClientIP'"), NULL, NULL, NULL,
	  "{'spec':{'sessionAffinityConfig':{'clientIP':{'timeoutSeconds':10800}}}}" },
	{ SVC, SPEC("'sessionAffinity':'None','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':1}}"), NULL, NULL, NULL,
	  "{'spec':{'sessionAffinityConfig':null}}" },
	{ SVC, SPEC("'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':0}}"),
	  "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400" },
	{ SVC, SPEC("'sessionAffinity':'X'"), "spec.sessionAffinity: Unsupported value: \"X\": supported values: \"ClientIP\", \"None\"" },
	{ SVC, SPEC("'clusterIP':'None'"), NULL, NULL, NULL, "{'spec':{'clusterIP':'None','clusterIPs':['None']}}" },
	{ SVC, SPEC("'clusterIP':'1.2.3'"), "spec.clusterIPs[0]: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or "
	  "2001:db8::ffff)" },
	{ SVC, SPEC("'clusterIPs':['10.0.0.1']"), "spec.clusterIPs: Invalid value: []string{\"10.0.0.1\"}: must be empty when `clusterIP` is "
	  "not specified" },
	{ SVC, SPEC("'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1','10.0.0.2']"),
	  "spec.clusterIPs: Invalid value: []string{\"10.0.0.1\", \"10.0.0.2\"}: may specify no more than one IP for each IP family" },
	{ SVC, SPEC("'clusterIP':'10.0.0.1','ipFamilies':['IPv6']"),
	  "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`" },
	{ SVC, SPEC("'ipFamilies':['IPv4','IPv4','X'],'ipFamilyPolicy':'Y'"),
	  "[spec.ipFamilies[1]: Duplicate value: \"IPv4\", spec.ipFamilies[2]: Unsupported value: \"X\": supported values: \"IPv4\", \"IPv6\", "
	  "spec.ipFamilyPolicy: Unsupported value: \"Y\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"]" },
	{ SVC, SPEC("'type':'NodePort','clusterIP':'None'"),
	  "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services" },
	{ SVC, SPEC("'externalIPs':['127.0.0.1','0.0.0.0','169.254.1.1','224.0.0.1','x']"),
	  "[spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128), "
	  "spec.externalIPs[1]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0), spec.externalIPs[2]: Invalid value: "
	  "\"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10), spec.externalIPs[3]: Invalid value: "
	  "\"224.0.0.1\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10), spec.externalIPs[4]: Invalid value: \"x\": "
	  "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)]" },
	{ SVC, SPEC("'type':'LoadBalancer','loadBalancerSourceRanges':[' 10.0.0.0/8 ','x']"),
	  "spec.LoadBalancerSourceRanges[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)", NULL,
	  NULL, "{'spec':{'allocateLoadBalancerNodePorts':true,'externalTrafficPolicy':'Cluster'}}" },
	{ SVC, SPEC("'loadBalancerSourceRanges':['10.0.0.0/8'],'loadBalancerClass':'a','allocateLoadBalancerNodePorts':true"),
	  "[spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer', spec.allocateLoadBalancerNodePorts: "
	  "Forbidden: may only be used when `type` is 'LoadBalancer', spec.loadBalancerClass: Forbidden: may only be used when `type` is "
	  "'LoadBalancer']" },
	{ SVC, SPEC("'externalTrafficPolicy':'Local','healthCheckNodePort':30000"),
	  "[spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services, "
	  "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
	  "'Local']" },
	{ SVC, SPEC("'type':'LoadBalancer','externalTrafficPolicy':'Local'"), "spec.healthCheckNodePort: Required value" },
	{ SVC, SPEC("'externalIPs':['10.1.1.1']"), NULL, NULL, NULL, "{'spec':{'externalTrafficPolicy':'Cluster'}}" },
	{ SVC, SPEC("'internalTrafficPolicy':'X','trafficDistribution':'Y'"),
	  "[spec.internalTrafficPolicy: Unsupported value: \"X\": supported values: \"Cluster\", \"Local\", spec.trafficDistribution: "
	  "Unsupported value: \"Y\": supported values: \"PreferClose\"]" },
	/* updates */
	{ SVC, SPEC("'clusterIP':'10.0.0.2'"), "spec.clusterIPs: Required value", SPEC("'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']") },
	{ SVC, SPEC("'clusterIP':'10.0.0.2','clusterIPs':['10.0.0.2']"),
	  "spec.clusterIPs[0]: Invalid value: []string{\"10.0.0.2\"}: may not change once set",
	  SPEC("'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']") },
	{ SVC, "{'spec':{'ports':[{'port':81}]}}", NULL, SPEC(OLD_IP), NULL,
	  "{'spec':{'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']}}" },
	{ SVC, "{'spec':{'type':'ExternalName','externalName':'a.b'," OLD_IP "}}", NULL, SPEC(OLD_IP), NULL,
	  "{'spec':{'clusterIP':null,'clusterIPs':null,'ipFamilies':null}}" },
	{ SVC, "{'spec':{'type':'NodePort','ports':[{'name':'a','port':81},{'name':'b','port':82,'nodePort':30001}]}}", NULL,
	  "{'spec':{'type':'NodePort','ports':[{'name':'a','port':80,'nodePort':30000},{'name':'b','port':82,'nodePort':30001}]}}", NULL,
	  "{'spec':{'ports':[{'name':'a','port':81,'protocol':'TCP','targetPort':81,'nodePort':30000},{'name':'b','port':82,'nodePort':30001,"
	  "'protocol':'TCP','targetPort':82}]}}" },
	{ SVC, SPEC("'ipFamilies':['IPv6','IPv4'],'ipFamilyPolicy':'PreferDualStack','clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']"),
	  "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`", SPEC(OLD_IP) },
	{ SVC, SPEC("'ipFamilies':['IPv9'],'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']"),
	  "spec.ipFamilies[0]: Unsupported value: \"IPv9\": supported values: \"IPv4\", \"IPv6\"", SPEC(OLD_IP) },
	{ SVC, SPEC(OLD_IP ",'ipFamilyPolicy':'PreferDualStack'"),
	  "[spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP, "
	  "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary ipFamily]",
	  SPEC("'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1','fd00::1'],'ipFamilies':['IPv4','IPv6']") },
	/* a type that does not exist takes nothing along that would be complained about too */
	{ SVC, SPEC("'type':'Bogus'," OLD_IP),
	  "spec.type: Unsupported value: \"Bogus\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
	  SPEC(OLD_IP) },
	{ SVC, "{'spec':{'type':'Bogus','externalTrafficPolicy':'Cluster','ports':[{'port':80,'nodePort':30000}]," OLD_IP "}}",
	  "spec.type: Unsupported value: \"Bogus\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
	  "{'spec':{'type':'NodePort','externalTrafficPolicy':'Cluster','ports':[{'port':80,'nodePort':30000}]," OLD_IP "}}" },
	/* what a load balancer was goes with it */
	{ SVC, SPEC("'type':'ClusterIP'," OLD_IP), NULL,
	  "{'spec':{'type':'LoadBalancer','ports':[{'port':80}]," OLD_IP "},'status':{'loadBalancer':{'ingress':[{'ip':'1.2.3.4'}]}}}", NULL,
	  "{'status':{'loadBalancer':{}}}" },
	{ SVC, SPEC("'type':'LoadBalancer','loadBalancerClass':'a.b/c'"),
	  "spec.loadBalancerClass: Invalid value: \"a.b/c\": may not change once set", SPEC("'type':'LoadBalancer'") },
	{ SVC, "{'spec':{'ports':[{'port':80}],'type':'LoadBalancer'},'status':{'loadBalancer':{'ingress':[{'ip':'1.2.3.4'},{'hostname':"
	  "'1.2.3.4','ipMode':'VIP'}]}}}", "[status.loadBalancer.ingress[1].ipMode: Forbidden: may not be specified when `ip` is not set, "
	  "status.loadBalancer.ingress[1].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address]",
	  SPEC("'type':'LoadBalancer'"), "status",
	  "{'status':{'loadBalancer':{'ingress':[{'ip':'1.2.3.4','ipMode':'VIP'},{'hostname':'1.2.3.4','ipMode':'VIP'}]}}}" },
	{ SVC, "{'status':{'loadBalancer':{'ingress':[{'ip':'1.2.3.4'}]}}}",
	  "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'", SPEC("'type':'ClusterIP'"), "status" },
	/* warnings */
	{ SVC, SPEC("'externalName':'a.b','externalIPs':['010.1.1.1'],'loadBalancerIP':'FE80::1'"), NULL, NULL, NULL, NULL,
	  "spec.externalIPs[0]: non-standard IP address \"010.1.1.1\" will be considered invalid in a future Kubernetes release: use "
	  "\"10.1.1.1\" | spec.loadBalancerIP: IPv6 address \"FE80::1\" should be in RFC 5952 canonical format (\"fe80::1\") | "
	  "spec.externalName is ignored when spec.type is not \"ExternalName\"" },
};

static void test_service(void **state)
{
	RUN_ROWS(service_rows);
}

#define SLICE "discovery.k8s.io/v1 EndpointSlice"
static const struct row endpoint_rows[] = {
	{ "v1 Endpoints", "{'subsets':[{'addresses':[{'ip':'10.1.1.1'}],'ports':[{'port':80}]}]}", NULL, NULL, NULL,
	  "{'subsets':[{'addresses':[{'ip':'10.1.1.1'}],'ports':[{'port':80,'protocol':'TCP'}]}]}" },
	{ "v1 Endpoints", "{'subsets':[{'ports':[{'port':80},{'port':0}]}]}",
	  "[subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`, subsets[0].ports[0].name: Required value, "
	  "subsets[0].ports[1].name: Required value, subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive]" },
	{ "v1 Endpoints", "{'subsets':[{'addresses':[{'ip':'x'}]}]}", "[subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP "
	  "address, (e.g. 10.9.8.7 or 2001:db8::ffff), subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address]" },
	{ SLICE, "{'addressType':'IPv4','endpoints':[{'addresses':['10.1.1.1'],'deprecatedTopology':{'a':'b'}}],'ports':[{'port':80}]}", NULL, NULL,
	  NULL, "{'metadata':{'generation':1},'endpoints':[{'addresses':['10.1.1.1']}],'ports':[{'port':80,'name':'','protocol':'TCP'}]}" },
	{ SLICE, "{'addressType':'','endpoints':[]}", "addressType: Required value" },
	{ SLICE, "{'addressType':'IP','endpoints':[]}",
	  "addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"" },
	{ SLICE, "{'addressType':'IPv6','endpoints':[{'addresses':['10.1.1.1']},{'addresses':[]}]}",
	  "[endpoints[0].addresses[0]: Invalid value: \"10.1.1.1\": must be an IPv6 address, endpoints[1].addresses: Required value: must "
	  "contain at least 1 address]" },
	{ SLICE, "{'addressType':'IPv4','endpoints':[],'ports':[{'name':'a'},{'name':'a'}]}", "ports[1].name: Duplicate value: \"a\"" },
	{ SLICE, "{'addressType':'IPv4','endpoints':[{'addresses':['10.1.1.1'],'hints':{'forZones':[{'name':'a'},{'name':'a'}]}}]}",
	  "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\"" },
	{ SLICE, "{'addressType':'FQDN','endpoints':[{'addresses':['a']}]}",
	  "[endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by dots, addressType: Invalid value: "
	  "\"FQDN\": field is immutable]", "{'addressType':'IPv4','endpoints':[]}" },
	{ SLICE, "{'metadata':{'labels':{'a':'b'}},'addressType':'IPv4','endpoints':[]}", NULL,
	  "{'metadata':{'generation':3},'addressType':'IPv4','endpoints':[]}", NULL, "{'metadata':{'generation':4}}" },
	{ SLICE, "{'addressType':'FQDN','endpoints':[{'addresses':['a.example']}]}", NULL, NULL, NULL, NULL,
	  "spec.addressType: FQDN endpoints are deprecated" },
};

static void test_endpoints(void **state)
{
	RUN_ROWS(endpoint_rows);
}

#define NET "networking.k8s.io/v1 "
#define BACKEND "'backend':{'service':{'name':'a','port':{'number':80}}}"
#define RULE(path) "{'spec':{'rules':[{'http':{'paths':[" path "]}}]}}"
static const struct row networking_rows[] = {
	{ NET "Ingress", "{'spec':{}}", "spec: Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be "
	  "specified" },
	{ NET "Ingress", RULE("{" BACKEND "}"), "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified" },
	{ NET "Ingress", RULE("{'path':'/a','pathType':'Prefix'," BACKEND "}"), NULL, NULL, NULL, "{'metadata':{'generation':1}}" },
	{ NET "Ingress", RULE("{'path':'a//b/..','pathType':'Exact'," BACKEND "}"),
	  "[spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must be an absolute path, spec.rules[0].http.paths[0].path: Invalid "
	  "value: \"a//b/..\": must not contain '//', spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": cannot end with '/..']" },
	{ NET "Ingress", RULE("{'path':'/','pathType':'X','backend':{}}"),
	  "[spec.rules[0].http.paths[0].pathType: Unsupported value: \"X\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\", "
	  "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required]" },
	{ NET "Ingress", "{'spec':{'defaultBackend':{'service':{'name':'a'}}}}", "spec.defaultBackend: Required value: port name or number is "
	  "required" },
	{ NET "Ingress", "{'spec':{'defaultBackend':{'resource':{'kind':'','name':''}}}}",
	  "[spec.defaultBackend.resource.kind: Required value, spec.defaultBackend.resource.name: Required value]" },
	{ NET "Ingress", "{'spec':{'rules':[{'host':'1.2.3.4'},{'host':'*.a'}]}}",
	  "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address" },
	{ NET "Ingress", "{'metadata':{'annotations':{'kubernetes.io/ingress.class':'a'}},'spec':{'ingressClassName':'b','rules':[{}]}}",
	  "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified" },
	{ NET "Ingress", "{'metadata':{'annotations':{'kubernetes.io/ingress.class':'a'}},'spec':{'rules':[{}]}}", NULL, NULL, NULL, NULL,
	  "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead" },
	{ NET "Ingress", "{'spec':{'rules':[{'host':'a.b'}]}}", NULL, "{'metadata':{'generation':2},'spec':{'rules':[{'host':'a.c'}]}}", NULL,
	  "{'metadata':{'generation':3}}" },
	{ NET "IngressClass", "{'spec':{'controller':'a.b/c','parameters':{'kind':'A','name':'b'}}}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'spec':{'parameters':{'kind':'A','name':'b','scope':'Cluster'}}}" },
	{ NET "IngressClass", "{'spec':{}}", "spec.controller: Required value" },
	{ NET "IngressClass", "{'spec':{'controller':'a'}}",
	  "spec.controller: Invalid value: \"a\": must be a domain-prefixed path (such as \"acme.io/foo\")" },
	{ NET "IngressClass", "{'spec':{'controller':'a.b/c','parameters':{'kind':'A','name':'b','scope':'Namespace'}}}",
	  "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'" },
	{ NET "IngressClass", "{'spec':{'controller':'a.b/d'}}", "spec.controller: Invalid value: \"a.b/d\": field is immutable",
	  "{'spec':{'controller':'a.b/c'}}" },
	{ NET "NetworkPolicy", "{'spec':{'podSelector':{},'egress':[{'ports':[{'port':80}]}]}}", NULL, NULL, NULL,
	  "{'metadata':{'generation':1},'spec':{'policyTypes':['Ingress','Egress'],'egress':[{'ports':[{'port':80,'protocol':'TCP'}]}]}}" },
	{ NET "NetworkPolicy", "{'spec':{'podSelector':{}}}", NULL, NULL, NULL, "{'spec':{'policyTypes':['Ingress']}}" },
	{ NET "NetworkPolicy", "{'spec':{'podSelector':{},'ingress':[{'from':[{},{'ipBlock':{'cidr':'10.0.0.0/8','except':['11.0.0.0/16',"
	  "'10.0.0.0/8','10.1.0.0/16']},'podSelector':{}}],'ports':[{'port':'a','endPort':5},{'endPort':5},{'port':6,'endPort':5}]}]}}",
	  "[spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is non-numeric, "
	  "spec.ingress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is not specified, "
	  "spec.ingress[0].ports[2].endPort: Invalid value: 5: must be greater than or equal to `port`, spec.ingress[0].from[0]: Required "
	  "value: must specify a peer, spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of "
	  "`cidr`, spec.ingress[0].from[1].ipBlock.except[1]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`, "
	  "spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer]" },
	{ NET "NetworkPolicy", "{'spec':{'podSelector':{},'policyTypes':['Ingress','Egress','Ingress']}}",
	  "spec.policyTypes: Invalid value: []networking.PolicyType{\"Ingress\", \"Egress\", \"Ingress\"}: may not specify more than two "
	  "policyTypes" },
	{ NET "IPAddress", "{'metadata':{'name':'10.0.0.1'},'spec':{'parentRef':{'resource':'services','name':'a','namespace':'b'}}}" },
	{ NET "IPAddress", "{'metadata':{'name':'x'},'spec':{}}", "[metadata.name: Invalid value: \"x\": must be a valid IP address, (e.g. "
	  "10.9.8.7 or 2001:db8::ffff), spec.parentRef: Required value]" },
	{ NET "IPAddress", "{'metadata':{'name':'FE80::1'},'spec':{'parentRef':{'resource':'','name':''}}}",
	  "[metadata.name: Invalid value: \"FE80::1\": must be in canonical form (\"fe80::1\"), spec.parentRef.resource: Required value, "
	  "spec.parentRef.name: Required value]" },
	{ NET "IPAddress", "{'metadata':{'name':'10.0.0.1'},'spec':{'parentRef':{'resource':'services','name':'b'}}}",
	  "spec.parentRef: Invalid value: networking.ParentReference{Group:\"\", Resource:\"services\", Namespace:\"\", Name:\"b\"}: field is "
	  "immutable", "{'metadata':{'name':'10.0.0.1'},'spec':{'parentRef':{'resource':'services','name':'a'}}}" },
	{ NET "ServiceCIDR", "{'spec':{}}", "spec.cidrs: Required value: at least one CIDR required" },
	{ NET "ServiceCIDR", "{'spec':{'cidrs':['10.0.0.0/8','11.0.0.0/8']}}", "spec.cidrs: Invalid value: []string{\"10.0.0.0/8\", "
	  "\"11.0.0.0/8\"}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64" },
	{ NET "ServiceCIDR", "{'spec':{'cidrs':['10.0.0.1/8']}}",
	  "spec.cidrs[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length" },
	{ NET "ServiceCIDR", "{'spec':{'cidrs':['10.0.0.0/9']}}", "spec.cidrs[0]: Invalid value: \"10.0.0.0/9\": field is immutable",
	  "{'spec':{'cidrs':['10.0.0.0/8']}}" },
	{ NET "ServiceCIDR", "{'spec':{'cidrs':['10.0.0.0/8','fd00::/64']}}", NULL, "{'spec':{'cidrs':['10.0.0.0/8']}}" },
};

static void test_networking(void **state)
{
	RUN_ROWS(networking_rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_service), cmocka_unit_test(test_endpoints), cmocka_unit_test(test_networking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
