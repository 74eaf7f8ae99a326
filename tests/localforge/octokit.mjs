// The App flow with GitHub's own client: token, issue, branch, pull request, checks, pages. Prints one JSON object.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { modules, baseUrl, appId, installationId, privateKey, owner, repo } = JSON.parse(process.env.FORGE);
const require = createRequire(pathToFileURL(modules + "/"));
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const { Octokit } = await load("@octokit/rest");
const { createAppAuth } = await load("@octokit/auth-app");

const octokit = new Octokit({ authStrategy: createAppAuth, auth: { appId, installationId, privateKey }, baseUrl });
const here = { owner, repo };
const out = {};
out.app = (await octokit.rest.apps.getAuthenticated()).data.slug;
const main = await octokit.rest.git.getRef({ ...here, ref: "heads/main" });
const sha = main.data.object.sha;
try {
  await octokit.rest.git.createRef({ ...here, ref: "refs/heads/old", sha });
} catch (error) {
  out.duplicate = error.status;
}
const issue = await octokit.rest.issues.create({ ...here, title: "From Octokit", labels: ["AI-Ready"] });
await octokit.rest.issues.createComment({ ...here, issue_number: issue.data.number, body: "hello" });
const pull = await octokit.rest.pulls.create({ ...here, title: "PR", head: "ai-1", base: "main" });
await octokit.rest.issues.addLabels({ ...here, issue_number: pull.data.number, labels: ["AI-PR"] });
await octokit.rest.repos.createCommitStatus({ ...here, sha: pull.data.head.sha, state: "success", context: "gate" });
const run = await octokit.rest.checks.create({
  ...here, name: "windlass", head_sha: pull.data.head.sha, status: "completed", conclusion: "neutral",
  output: { title: "Report", summary: "well", text: "log" },
});
out.run = run.data.conclusion;
const all = await octokit.paginate(octokit.rest.issues.listForRepo, { ...here, state: "all", per_page: 1 });
out.issues = all.map((found) => found.title).sort();
const etag = (await octokit.rest.repos.get(here)).headers.etag;
try {
  await octokit.rest.repos.get({ ...here, headers: { "if-none-match": etag } });
} catch (error) {
  out.unchanged = error.status;
}
out.files = (await octokit.rest.pulls.listFiles({ ...here, pull_number: pull.data.number })).data.map((f) => f.filename);
console.log(JSON.stringify(out));
