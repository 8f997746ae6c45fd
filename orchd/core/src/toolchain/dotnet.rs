//! .NET solutions and projects.

use super::Toolchain;
use super::survey::Site;

const ENV: &[(&str, &str)] =
    &[("DOTNET_CLI_TELEMETRY_OPTOUT", "1"), ("DOTNET_NOLOGO", "1"), ("DOTNET_SKIP_FIRST_TIME_EXPERIENCE", "1")];
/// Most project files that are looked into.
const PROJECTS_READ_MAX: usize = 50;

pub(super) fn detect(site: &Site<'_>) -> Option<Toolchain> {
    let here = site.names().find(|name| is_solution(name)).or_else(|| site.names().find(|name| is_project(name)))?;
    if !is_solution(here) && below_solution(site) {
        return None;
    }
    let mut found = site.found("dotnet", crate::recipe::text::printable(here), &["dotnet"]);
    let projects: Vec<String> =
        site.own().filter(|path| is_project(path)).take(PROJECTS_READ_MAX).filter_map(|path| site.text(path)).collect();
    found.vendored = !projects.iter().any(|text| text.contains("PackageReference"));
    found.build = Some(found.step("build", "dotnet build", ENV));
    if projects.iter().any(|text| text.contains("Microsoft.NET.Test.Sdk")) {
        found.saw("Microsoft.NET.Test.Sdk");
        found.test = Some(found.step("test", "dotnet test", ENV));
    }
    Some(found)
}

fn is_solution(name: &str) -> bool {
    name.ends_with(".sln") || name.ends_with(".slnx")
}

fn is_project(name: &str) -> bool {
    [".csproj", ".fsproj", ".vbproj"].iter().any(|end| name.ends_with(end))
}

fn below_solution(site: &Site<'_>) -> bool {
    let mut above = site.parent();
    while let Some(dir) = above {
        if dir.names().any(is_solution) {
            return true;
        }
        above = dir.parent();
    }
    false
}
