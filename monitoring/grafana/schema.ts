// Grafana's own types of a dashboard, made strict: options and fields are those of the panel's kind, unknown keys are errors.
// tools/grafana-check.sh compiles each dashboard as a value of type Board.
import type { Dashboard, FieldConfig, Panel, AnnotationQuery, VariableModel } from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { FieldConfig as LineField, Options as Lines } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type { FieldConfig as TrendField, Options as Trend } from '@grafana/schema/dist/esm/raw/composable/trend/panelcfg/x/TrendPanelCfg_types.gen';

// Plain<T> is T as JSON has it: members of enumerations are their values.
type Plain<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;

// Query is what the Prometheus data source takes; it is not in @grafana/schema.
interface Query {
  refId: string;
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  range?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  interval?: string;
}

type Kind<Type extends string, Options, Field = never> =
  Plain<Omit<Panel, 'type' | 'title' | 'options' | 'targets' | 'fieldConfig'>> & {
    type: Type;
    title: string;
    options: Partial<Plain<Options>>;
    targets: Query[];
    fieldConfig: {
      defaults: Plain<Omit<FieldConfig, 'custom'>> & { custom?: Plain<Field> };
      overrides: Array<{ matcher: { id: 'byName'; options: string }; properties: Array<{ id: string; value: unknown }> }>;
    };
  };

type AnyPanel =
  | Kind<'timeseries', Lines, LineField>
  | Kind<'trend', Trend, TrendField>
  | Kind<'stat', Stat>
  | Kind<'bargauge', BarGauge>
  | Kind<'table', Table>;

export type Board = Plain<Omit<Dashboard, 'panels' | 'annotations' | 'templating'>> & {
  panels: AnyPanel[];
  annotations: { list: Array<Plain<Omit<AnnotationQuery, 'target'>> & { target: Query; titleFormat: string; textFormat: string }> };
  templating: { list: Array<Plain<Omit<VariableModel, 'query'>> & { query: { query: string; refId: string } }> };
};
